// The convolutional stems: what both families start with, and the deeper stem of AtlasNet.
#pragma once

#include <optional>
#include <vector>

#include "atlas/nn/activation.h"
#include "atlas/nn/container.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

inline Conv2dOptions conv3x3(int64_t stride) { return {.stride = {stride, stride}, .padding = {1, 1}}; }

/// Convolution with stride 2, batch norm and ReLU, twice.
inline void add_patch_stem(Sequential& to, int64_t in_dim, int64_t dim) {
  to.add<Conv2d>(3, in_dim, 3, conv3x3(2), false);
  to.add<BatchNorm2d>(in_dim, 1e-4);
  to.add<ReLU>();
  to.add<Conv2d>(in_dim, dim, 3, conv3x3(2), false);
  to.add<BatchNorm2d>(dim, 1e-4);
  to.add<ReLU>();
}

}  // namespace detail

/// Residual block of the stem.   x: [B, H, W, C] -> same
class AtlasStemBlock : public Module {
 public:
  explicit AtlasStemBlock(int64_t dim) {
    conv_block1.add<Conv2d>(dim, dim, 3, detail::conv3x3(1));
    conv_block1.add<BatchNorm2d>(dim);
    conv_block1.add<GELU>();
    const auto& conv = conv_block2.add<Conv2d>(dim, dim, 3, detail::conv3x3(1));
    second_.emplace(conv, conv_block2.add<BatchNorm2d>(dim));
    register_modules({{"conv_block1", conv_block1}, {"conv_block2", conv_block2}});
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor y = conv_block1(x);
    return (*second_)(y, Activation::none, x);
  }

  Sequential conv_block1, conv_block2;

 private:
  std::optional<ConvNorm> second_;  // of conv_block2
};

/// Layer norm and a strided convolution: half the sides, twice the channels.
class AtlasStemDownsample : public Module {
 public:
  explicit AtlasStemDownsample(int64_t dim) : norm(dim, 1e-6), conv(dim, 2 * dim, 3, detail::conv3x3(2), false) {
    register_modules({{"norm", norm}, {"conv", conv}});
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor y = norm(x);
    return conv(y);
  }

  LayerNorm norm;
  Conv2d conv;
};

/// The stem.   x: [B, H, W, 3] -> [B, H/patch, W/patch, dim]
///
/// Patch 16 is the published stem; 8 stops after ds1, 4 after conv0.
class AtlasStem : public Module {
 public:
  AtlasStem(int64_t stem_dim, int64_t dim, int64_t patch) {
    const int64_t d = dim * 4 / patch;
    detail::add_patch_stem(conv0, stem_dim, d);
    register_module("conv0", conv0);
    if (patch >= 8) {
      for (int i = 0; i < 3; ++i) conv1.add<AtlasStemBlock>(d);
      register_modules({{"conv1", conv1}, {"ds1", ds1.emplace(d)}});
    }
    if (patch == 16) {
      for (int i = 0; i < 3; ++i) conv2.add<AtlasStemBlock>(2 * d);
      register_modules({{"conv2", conv2}, {"ds2", ds2.emplace(2 * d)}});
    }
  }
  Tensor forward(const Tensor& x) const override { return forward(x, nullptr); }
  /// @param finer  gets the maps before each downsample (strides 4 and 8), when it is not null
  Tensor forward(const Tensor& x, std::vector<Tensor>* finer) const {
    Tensor y = conv0(x);
    if (ds1) {
      y = conv1(y);
      if (finer != nullptr) finer->push_back(y);
      y = (*ds1)(y);
    }
    if (ds2) {
      y = conv2(y);
      if (finer != nullptr) finer->push_back(y);
      y = (*ds2)(y);
    }
    return y;
  }
  /// Of the first convolution.
  const Tensor& weight() const { return static_cast<const Conv2d&>(conv0[0]).weight; }

  Sequential conv0, conv1, conv2;
  std::optional<AtlasStemDownsample> ds1, ds2;
};

}  // namespace atlas::inline ATLAS_ABI::models
