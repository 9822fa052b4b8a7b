// AtlasNet: a convolutional stem, then attention inside windows of several scales at once.
//
// Agrawal, Lian et al., "Atlas: Multi-Scale Attention Improves Long Context Image Modeling", arXiv 2503.12355. Member
// names are the names of the published parameters. A scale is a tensor of windows [B · windows, tokens, C], windows in
// row-major order within an image, scale 0 the finest; AtlasPyramid says how an image is cut.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "atlas/models/atlas_pyramid.h"
#include "atlas/models/heads/classify.h"
#include "atlas/models/stem.h"
#include "atlas/nn/activation.h"
#include "atlas/nn/container.h"
#include "atlas/nn/norm.h"

namespace atlas::inline ATLAS_ABI::models {

/// Adds an MLP of each token's (row, column) inside its window, scaled to [-1, 1).
class AtlasWindowPosition : public Module {
 public:
  explicit AtlasWindowPosition(int64_t dim);
  /// @param x  [windows, height · width, C]; the result has its shape
  Tensor add_to(const Tensor& x, int64_t height, int64_t width) const;

  Sequential projector;

 private:
  /// [height · width, 2], of the weights' type and on the device of x.
  Tensor coordinates(int64_t height, int64_t width, const Tensor& x) const;
  /// float64 [height · width, 2]; the middle of a window is at 0, and so is an axis of one token.
  static Tensor coordinates(int64_t height, int64_t width);

  const Linear &first_, &last_;
  Derived<Tensor> table_;
  ConstantCache constants_;
};

/// Projections of one scale's attention.
class AtlasCrossAttention : public Module {
 public:
  explicit AtlasCrossAttention(int64_t dim);

  Linear q, kv, proj;
};

/// The transformer block that one scale owns; used twice per multi-scale block (down pass and up pass).
class AtlasScaleBlock : public Module {
 public:
  AtlasScaleBlock(const AtlasConfig& c, double drop_path_rate);
  /// Queries [windows, L, C], heads side by side.
  Tensor query(const Tensor& x) const;
  /// Keys and values, each a strided view [windows, L, heads, D] of the projection; padding is masked.
  KeyValue key_value(const Tensor& x, const Tensor& padding) const;
  /// What the queries gather from the sources, after the projection.   -> [windows, L, C]
  /// @param places  says, to who asks, where queries and sources lie
  template <class Places>
  Tensor attend(const Tensor& q, const std::vector<KeyValue>& sources, const Places& places) const;
  /// The same as a residual of x.
  template <class Places>
  Tensor attend_onto(const Tensor& x, const Tensor& q, const std::vector<KeyValue>& sources,
                     const Places& places) const;
  /// The perceptron's residual.
  Tensor finish(const Tensor& x) const;

  LayerNorm norm1_q, norm1_kv;
  AtlasCrossAttention attn;
  LayerNorm norm2;
  Mlp mlp;
  DropPath drop_path;

 private:
  template <class Places>
  Tensor gather(const Tensor& q, const std::vector<KeyValue>& sources, const Places& places) const;

  int64_t heads_;
};

/// One multi-scale attention block over all scales of a macro stage (arXiv 2503.12355, section 3).
class AtlasBlock : public Module {
 public:
  AtlasBlock(const AtlasConfig& c, size_t scales, double drop_path_rate);
  /// Windows of every scale, fine to coarse, to the same.
  std::vector<Tensor> run(std::vector<Tensor> x, const AtlasPyramid& scales) const;

  ModuleList<AtlasScaleBlock> blocks;
  ModuleList<AtlasWindowPosition> posemb;

 private:
  static AttentionRecord places_down(const AtlasPyramid& scales, size_t s);
  static AttentionRecord places_up(const AtlasPyramid& scales, size_t s);
};

/// The blocks of a macro stage. Drop-path rates start again at 0 in every one.
class AtlasLevel : public Module {
 public:
  AtlasLevel(const AtlasConfig& c, size_t scales, int64_t depth);

  ModuleList<AtlasBlock> blocks;
};

/// Blocks that work on the same scales; the first macro stage also owns the stem.
class AtlasMacroStage : public Module {
 public:
  AtlasMacroStage(const AtlasConfig& c, size_t scales, int64_t depth, bool with_stem);
  std::vector<Tensor> run(std::vector<Tensor> x, const AtlasPyramid& scales) const;

  std::optional<AtlasStem> patch_embed;
  ModuleList<AtlasLevel> levels;
};

/// The stem and the macro stages.   images [B, H, W, 3] of any size -> one map per scale
///
/// The stem rounds up: an image of H x W pixels has ceil(H / patch) x ceil(W / patch) tokens, those at the edge from
/// what is left of the image and the zero padding of the convolutions. AtlasPyramid cuts them into windows.
class AtlasBackbone : public Backbone {
 public:
  using Config = AtlasConfig;

  explicit AtlasBackbone(const Config& config);
  /// One map per scale, fine to coarse: as it was when its macro stage dropped it, or at the end.
  ATLAS_INLINE std::vector<Tensor> maps(const Tensor& images) const override;
  /// patch, patch · ratio, ...
  ATLAS_INLINE std::vector<int64_t> strides() const override;
  std::vector<int64_t> channels() const override { return std::vector<int64_t>(scales_, config_.dim); }
  /// Tokens of the scales left after the last macro stage, fine to coarse, each [B, L, C] in the order of its windows,
  /// without padding.
  ATLAS_INLINE std::vector<Tensor> features(const Tensor& images, std::vector<Tensor>* all = nullptr) const override;
  /// The stem's maps at strides 4 and 8 as far as they are finer than a patch, then one map per scale, as it leaves the
  /// last macro stage that holds it together with a finer one, or, the coarsest, the first that holds it alone: later
  /// stages, which a classifier runs on the coarsest scale, are not run and get no gradients.
  ATLAS_INLINE std::vector<Tensor> dense_maps(const Tensor& images) const override;
  ATLAS_INLINE std::vector<int64_t> dense_strides() const override;
  ATLAS_INLINE std::vector<int64_t> dense_channels() const override;
  ATLAS_INLINE std::vector<std::pair<std::string, std::string>> parts() const override;
  /// The attention of the finest scale in every block; by default, that of each macro stage's last block.
  ATLAS_INLINE std::vector<AttentionLayer> attention_layers() const override;
  /// How images of a size are cut in the first macro stage.
  AtlasPyramid pyramid(int64_t height, int64_t width, Device device = {}) const;

  ModuleList<AtlasMacroStage> atlas_models;

 private:
  /// features(); the stem's maps go to `finer` when given.
  std::vector<Tensor> features(const Tensor& images, std::vector<Tensor>* all, std::vector<Tensor>* finer) const;
  /// Windows of the scales left after the last macro stage; maps of dropped scales go to `dropped` when given. Where
  /// the stem's maps are asked for, the first stage with one scale is the last that runs.
  std::vector<Tensor> run(const Tensor& images, AtlasPyramid& scales, std::vector<Tensor>* dropped,
                          std::vector<Tensor>* finer) const;

  AtlasConfig config_;
  size_t scales_;  // of the first macro stage
  ConstantCache constants_;
};

/// Mean over the tokens of all scales that are left, between two norms, and a linear layer.
class AtlasHead : public ClassifyHead {
 public:
  static constexpr const char* kLinear = "fc";

  explicit AtlasHead(const AtlasConfig& config);
  ATLAS_INLINE Tensor pool(const std::vector<Tensor>& features) const override;
  Tensor forward(const Tensor& pooled) const override { return fc(pooled); }

  LayerNorm readout_norm, fc_norm;
  Linear fc;
};

/// Atlas.   images [B, H, W, 3] of any size -> logits [B, classes]
using AtlasNet = ClassifierOf<AtlasBackbone, AtlasHead>;

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/atlas_net-inl.h"
#endif
