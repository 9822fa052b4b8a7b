// MambaVision: a convolutional half, then windows of tokens mixed by state-space models first and attention last.
//
// Hatamizadeh and Kautz, "MambaVision: A Hybrid Mamba-Transformer Vision Backbone", arXiv 2407.08083. Member names are
// the names of the published parameters.
#pragma once

#include <memory>
#include <numeric>
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
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/window.h"

namespace atlas::inline ATLAS_ABI::models {

/// Residual block of two convolutions, with the tanh GELU between.   x: [B, H, W, C] -> same
class MambaVisionConvBlock : public Module {
 public:
  MambaVisionConvBlock(int64_t dim, double drop_path_rate)
      : conv1(dim, dim, 3, detail::conv3x3(1)),
        norm1(dim),
        conv2(dim, dim, 3, detail::conv3x3(1)),
        norm2(dim),
        drop_path(drop_path_rate) {
    register_modules(
        {{"conv1", conv1}, {"norm1", norm1}, {"conv2", conv2}, {"norm2", norm2}, {"drop_path", drop_path}});
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor y = first_(x, Activation::gelu_tanh);
    return drop_path.drops() ? x + drop_path(second_(y)) : second_(y, Activation::none, x);
  }

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
  MambaVisionHybridBlock(const MambaVisionConfig& c, int64_t dim, int64_t heads, bool attention, double drop_path_rate)
      : norm1(dim), norm2(dim), mlp(dim, detail::hidden_size(dim, c.mlp_ratio)), drop_path(drop_path_rate) {
    if (attention)
      mixer = std::make_unique<Attention>(dim, heads);
    else
      mixer = std::make_unique<MambaMixer>(dim, c.d_state, c.d_conv);
    register_modules({{"norm1", norm1}, {"mixer", *mixer}, {"norm2", norm2}, {"mlp", mlp}, {"drop_path", drop_path}});
    if (c.layer_scale) {
      for (auto& [name, gamma] : {std::pair<const char*, Tensor*>{"gamma_1", &gamma_1}, {"gamma_2", &gamma_2}}) {
        *gamma = empty({dim});
        constant_(*gamma, *c.layer_scale);
        register_parameter(name, *gamma);
      }
    }
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor y = residual(x, norm1, *mixer, gamma_1);
    return residual(y, norm2, mlp, gamma_2);
  }

  LayerNorm norm1;
  std::unique_ptr<Module> mixer;
  LayerNorm norm2;
  Mlp mlp;
  DropPath drop_path;
  Tensor gamma_1, gamma_2;  // [C], undefined without layer scale

 private:
  Tensor residual(const Tensor& x, const Module& norm, const Module& f, const Tensor& gamma) const {
    Tensor y = norm(x);
    if (!drop_path.drops()) return f.onto(x, y, gamma);
    y = f(y);
    if (gamma.defined()) y = gamma * y;
    y = drop_path(y);
    return x + std::move(y);
  }
};

/// Halves the map's sides and doubles its channels.
class MambaVisionDownsample : public Module {
 public:
  explicit MambaVisionDownsample(int64_t dim) {
    reduction.add<Conv2d>(dim, 2 * dim, 3, detail::conv3x3(2), false);
    register_module("reduction", reduction);
  }
  Tensor forward(const Tensor& x) const override { return reduction(x); }

  Sequential reduction;
};

/// One of the four stages: convolutional blocks on the map, or hybrid blocks on its windows (zero padding right and
/// bottom). forward() gives the map before `downsample`.   x: [B, H, W, C] -> same
class MambaVisionStage : public Module {
 public:
  MambaVisionStage(const MambaVisionConfig& c, size_t i)
      : window_(c.window_size[i]), stride_(int64_t{4} << i), convolutional_(i < 2) {
    const int64_t dim = c.dim << i, depth = c.depths[i];
    const int64_t before =
        std::accumulate(c.depths.begin(), c.depths.begin() + static_cast<std::ptrdiff_t>(i), int64_t{0});
    const int64_t total = std::accumulate(c.depths.begin(), c.depths.end(), int64_t{0});
    const int64_t first_attention = (depth + 1) / 2;  // mixers first, attention last
    for (int64_t j = 0; j < depth; ++j) {
      const double rate = detail::drop_path_rate(c.drop_path_rate, before + j, total);
      if (convolutional_)
        blocks.add<MambaVisionConvBlock>(dim, rate);
      else
        blocks.add<MambaVisionHybridBlock>(c, dim, c.num_heads[i], j >= first_attention, rate);
    }
    register_module("blocks", blocks);
    if (i < 3) register_module("downsample", downsample.emplace(dim));
  }
  Tensor forward(const Tensor& x) const override {
    if (convolutional_) {
      Tensor y = x;
      for (const auto& block : blocks) y = (*block)(y);
      return y;
    }
    const WindowLayout windows{x.size(1), x.size(2), window_, window_};
    const TokenScope scope({windows, stride_});
    Tensor y = window_partition(x, windows);
    for (const auto& block : blocks) y = (*block)(y);
    return window_reverse(y, windows, x.size(0));
  }

  ModuleList<Module> blocks;
  std::optional<MambaVisionDownsample> downsample;

 private:
  int64_t window_, stride_;
  bool convolutional_;
};

/// The stem: two strided convolutions.   x: [B, H, W, 3] -> [B, H/4, W/4, dim]
class MambaVisionPatchEmbed : public Module {
 public:
  MambaVisionPatchEmbed(int64_t in_dim, int64_t dim) {
    detail::add_patch_stem(conv_down, in_dim, dim);
    register_module("conv_down", conv_down);
  }
  Tensor forward(const Tensor& x) const override { return conv_down(x); }
  /// Of the first convolution.
  const Tensor& weight() const { return static_cast<const Conv2d&>(conv_down[0]).weight; }

  Sequential conv_down;
};

/// The stem and the four stages.   images [B, H, W, 3] of any size -> maps of strides 4, 8, 16 and 32
class MambaVisionBackbone : public Backbone {
 public:
  using Config = MambaVisionConfig;

  explicit MambaVisionBackbone(const Config& config) : patch_embed(config.in_dim, config.dim), dim_(config.dim) {
    detail::skip_streams_of_head();
    register_module("patch_embed", patch_embed);
    for (size_t i = 0; i < 4; ++i) levels.add(config, i);
    register_module("levels", levels);
    detail::init_linears(*this);
  }
  /// The maps before each downsample.
  std::vector<Tensor> maps(const Tensor& images) const override {
    std::vector<Tensor> all;
    features(images, &all);
    return all;
  }
  std::vector<int64_t> strides() const override { return {4, 8, 16, 32}; }
  std::vector<int64_t> channels() const override { return {dim_, 2 * dim_, 4 * dim_, 8 * dim_}; }
  /// The last map; every stage's map goes to `all` when that is given, and is freed on the way when not.
  std::vector<Tensor> features(const Tensor& images, std::vector<Tensor>* all = nullptr) const override {
    check_images(images, patch_embed.weight(), MambaVisionConfig::kTitle);
    Tensor x = patch_embed(images);
    for (const auto& level : levels) {
      x = (*level)(x);
      if (all != nullptr) all->push_back(x);
      if (level->downsample) x = (*level->downsample)(x);
    }
    return {x};
  }
  std::vector<std::pair<std::string, std::string>> parts() const override {
    return {{"stem", "patch_embed"}, {"0", "levels.0"}, {"1", "levels.1"}, {"2", "levels.2"}, {"3", "levels.3"}};
  }
  /// The blocks of the last two stages whose mixer is attention.
  std::vector<AttentionLayer> attention_layers() const override {
    std::vector<AttentionLayer> all;
    for (size_t i = 0; i < levels.size(); ++i)
      for (size_t b = 0; b < levels[i].blocks.size(); ++b) {
        const auto* block = dynamic_cast<const MambaVisionHybridBlock*>(&levels[i].blocks[b]);
        if (block != nullptr && dynamic_cast<const Attention*>(block->mixer.get()) != nullptr)
          all.push_back({fmt::format("levels.{}.blocks.{}.mixer", i, b), fmt::format("stage {}, block {}", i, b),
                         std::ssize(all)});
      }
    return all;
  }

  MambaVisionPatchEmbed patch_embed;
  ModuleList<MambaVisionStage> levels;

 private:
  int64_t dim_;
};

/// Batch norm and mean of the last map, and a linear layer.
class MambaVisionHead : public ClassifyHead {
 public:
  static constexpr const char* kLinear = "head";

  explicit MambaVisionHead(const MambaVisionConfig& config)
      : norm(8 * config.dim), head((SkipInit(), 8 * config.dim), config.num_classes) {  // init_linears() draws it
    register_modules({{"norm", norm}, {"head", head}});
    detail::init_linears(*this);
  }
  Tensor pool(const std::vector<Tensor>& features) const override { return mean(norm(features.back()), {1, 2}); }
  Tensor forward(const Tensor& pooled) const override { return head(pooled); }

  BatchNorm2d norm;
  Linear head;
};

/// MambaVision.   images [B, H, W, 3] of any size -> logits [B, classes]
using MambaVision = ClassifierOf<MambaVisionBackbone, MambaVisionHead>;

}  // namespace atlas::inline ATLAS_ABI::models
