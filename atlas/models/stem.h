// The convolutional stems: what both families start with, and the deeper stem of AtlasNet.
#pragma once

#include <optional>
#include <vector>

#include "atlas/nn/activation.h"
#include "atlas/nn/container.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/norm.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

inline Conv2dOptions conv3x3(int64_t stride) { return {.stride = {stride, stride}, .padding = {1, 1}}; }

/// Convolution with stride 2, batch norm and ReLU, twice.
void add_patch_stem(Sequential& to, int64_t in_dim, int64_t dim);

}  // namespace detail

/// Residual block of the stem.   x: [B, H, W, C] -> same
class AtlasStemBlock : public Module {
 public:
  explicit AtlasStemBlock(int64_t dim);
  ATLAS_INLINE Tensor forward(const Tensor& x) const override;

  Sequential conv_block1, conv_block2;

 private:
  std::optional<ConvNorm> second_;  // of conv_block2
};

/// Layer norm and a strided convolution: half the sides, twice the channels.
class AtlasStemDownsample : public Module {
 public:
  explicit AtlasStemDownsample(int64_t dim);
  ATLAS_INLINE Tensor forward(const Tensor& x) const override;

  LayerNorm norm;
  Conv2d conv;
};

/// The stem.   x: [B, H, W, 3] -> [B, H/patch, W/patch, dim]
///
/// Patch 16 is the published stem; 8 stops after ds1, 4 after conv0.
class AtlasStem : public Module {
 public:
  AtlasStem(int64_t stem_dim, int64_t dim, int64_t patch);
  Tensor forward(const Tensor& x) const override { return forward(x, nullptr); }
  /// @param finer  gets the maps before each downsample (strides 4 and 8), when it is not null
  Tensor forward(const Tensor& x, std::vector<Tensor>* finer) const;
  /// Of the first convolution.
  const Tensor& weight() const { return static_cast<const Conv2d&>(conv0[0]).weight; }

  Sequential conv0, conv1, conv2;
  std::optional<AtlasStemDownsample> ds1, ds2;
};

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/stem-inl.h"
#endif
