// MambaVision: a convolutional half, then windows of tokens mixed by state-space models first and attention last.
//
// Hatamizadeh and Kautz, "MambaVision: A Hybrid Mamba-Transformer Vision Backbone", arXiv 2407.08083. Member names are
// the names of the published parameters.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "atlas/models/heads/classify.h"
#include "atlas/models/mamba_vision_config.h"
#include "atlas/models/stem.h"
#include "atlas/nn/activation.h"
#include "atlas/nn/attention.h"
#include "atlas/nn/container.h"
#include "atlas/nn/mamba.h"

namespace atlas::inline ATLAS_ABI::models {

/// Residual block of two convolutions, with the tanh GELU between.   x: [B, H, W, C] -> same
class MambaVisionConvBlock : public Module {
 public:
  MambaVisionConvBlock(int64_t dim, double drop_path_rate);
  ATLAS_INLINE Tensor forward(const Tensor& x) const override;

  Conv2d conv1;
  BatchNorm2d norm1;
  Conv2d conv2;
  BatchNorm2d norm2;
  DropPath drop_path;

 private:
  ConvNorm first_{conv1, norm1}, second_{conv2, norm2};
};

/// Pre-norm transformer block whose mixer is attention or a MambaMixer.   x: [windows, L, C] -> same
class MambaVisionHybridBlock : public Module {
 public:
  MambaVisionHybridBlock(const MambaVisionConfig& c, int64_t dim, int64_t heads, bool attention, double drop_path_rate);
  ATLAS_INLINE Tensor forward(const Tensor& x) const override;
  /// forward() of some of the tokens, where the mixer is attention.   x: [windows, L, C] -> [windows, fewer, C]
  /// @param choose  as for Attention::forward_some()
  Tensor forward_some(const Tensor& x, const std::function<Tensor(const Tensor&)>& choose) const;
  /// The mixer, where it is attention; else null.
  const Attention* attention() const { return dynamic_cast<const Attention*>(mixer.get()); }

  LayerNorm norm1;
  std::unique_ptr<Module> mixer;
  LayerNorm norm2;
  Mlp mlp;
  DropPath drop_path;
  Tensor gamma_1, gamma_2;  // [C], undefined without layer scale

 private:
  Tensor residual(const Tensor& x, const Module& norm, const Module& f, const Tensor& gamma) const;
};

/// Halves the map's sides and doubles its channels.
class MambaVisionDownsample : public Module {
 public:
  explicit MambaVisionDownsample(int64_t dim);
  Tensor forward(const Tensor& x) const override { return reduction(x); }

  Sequential reduction;
};

/// One of the four stages: convolutional blocks on the map, or hybrid blocks on its windows (zero padding right and
/// bottom). forward() gives the map before `downsample`; what its last block would make of the padding is not computed
/// where all windows have the same share of it.   x: [B, H, W, C] -> same
class MambaVisionStage : public Module {
 public:
  MambaVisionStage(const MambaVisionConfig& c, size_t i);
  ATLAS_INLINE Tensor forward(const Tensor& x) const override;

  ModuleList<Module> blocks;
  std::optional<MambaVisionDownsample> downsample;

 private:
  int64_t window_, stride_;
  bool convolutional_;
};

/// The stem: two strided convolutions.   x: [B, H, W, 3] -> [B, H/4, W/4, dim]
class MambaVisionPatchEmbed : public Module {
 public:
  MambaVisionPatchEmbed(int64_t in_dim, int64_t dim);
  Tensor forward(const Tensor& x) const override { return conv_down(x); }
  /// Of the first convolution.
  const Tensor& weight() const { return static_cast<const Conv2d&>(conv_down[0]).weight; }

  Sequential conv_down;
};

/// The stem and the four stages.   images [B, H, W, 3] of any size -> maps of strides 4, 8, 16 and 32
class MambaVisionBackbone : public Backbone {
 public:
  using Config = MambaVisionConfig;

  explicit MambaVisionBackbone(const Config& config);
  /// The maps before each downsample.
  ATLAS_INLINE std::vector<Tensor> maps(const Tensor& images) const override;
  std::vector<int64_t> strides() const override { return {4, 8, 16, 32}; }
  std::vector<int64_t> channels() const override { return {dim_, 2 * dim_, 4 * dim_, 8 * dim_}; }
  /// The last map; every stage's map goes to `all` when that is given, and is freed on the way when not.
  ATLAS_INLINE std::vector<Tensor> features(const Tensor& images, std::vector<Tensor>* all = nullptr) const override;
  ATLAS_INLINE std::vector<std::pair<std::string, std::string>> parts() const override;
  /// The blocks of the last two stages whose mixer is attention.
  ATLAS_INLINE std::vector<AttentionLayer> attention_layers() const override;

  MambaVisionPatchEmbed patch_embed;
  ModuleList<MambaVisionStage> levels;

 private:
  int64_t dim_;
};

/// Batch norm and mean of the last map, and a linear layer.
class MambaVisionHead : public ClassifyHead {
 public:
  static constexpr const char* kLinear = "head";

  explicit MambaVisionHead(const MambaVisionConfig& config);
  ATLAS_INLINE Tensor pool(const std::vector<Tensor>& features) const override;
  Tensor forward(const Tensor& pooled) const override { return head(pooled); }

  BatchNorm2d norm;
  Linear head;
};

/// MambaVision.   images [B, H, W, 3] of any size -> logits [B, classes]
using MambaVision = ClassifierOf<MambaVisionBackbone, MambaVisionHead>;

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/mamba_vision-inl.h"
#endif
