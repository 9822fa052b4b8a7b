// MambaVision: a convolutional half, then windows of tokens mixed by state-space models first and attention last.
//
// Hatamizadeh and Kautz, "MambaVision: A Hybrid Mamba-Transformer Vision Backbone", arXiv 2407.08083. Member names are
// the names of the published parameters.
#pragma once

#include <fmt/core.h>

#include <array>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "atlas/models/classifier.h"
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

/// Configuration of MambaVision; the defaults are MambaVision-T.
struct MambaVisionConfig {
  int64_t dim = 80;                                    ///< channels after the stem; stage i works on dim · 2ⁱ
  int64_t in_dim = 32;                                 ///< channels between the stem's two convolutions
  std::array<int64_t, 4> depths = {1, 3, 8, 4};        ///< blocks per stage; stages 0-1 are convolutional, 2-3 hybrid
  std::array<int64_t, 4> num_heads = {2, 4, 8, 16};    ///< attention heads; only stages 2-3 use them
  std::array<int64_t, 4> window_size = {8, 8, 14, 7};  ///< sides of windows in tokens; only stages 2-3 use them
  double mlp_ratio = 4;
  double drop_path_rate = 0.2;             ///< of the last block; the first has 0
  std::optional<double> layer_scale = {};  ///< initial gamma_1 and gamma_2 of the hybrid blocks, absent when not set
  int64_t num_classes = 1000;
  int64_t resolution = 224;  ///< side of the images it was made for; other sizes work
  int64_t d_state = 8;       ///< states per channel of the mixer
  int64_t d_conv = 3;        ///< length of the mixer's convolutions
};

/// @throws Error naming the field that is out of range.
inline void validate(const MambaVisionConfig& c) {
  constexpr const char* op = "MambaVision";
  check(c.dim >= 1 && c.in_dim >= 1 && c.num_classes >= 1 && c.resolution >= 1 && c.d_state >= 1 && c.d_conv >= 1, op,
        "dim, in_dim, num_classes, resolution, d_state and d_conv must be at least 1, got {}, {}, {}, {}, {} and {}",
        c.dim, c.in_dim, c.num_classes, c.resolution, c.d_state, c.d_conv);
  check(c.mlp_ratio > 0, op, "mlp_ratio must be positive, got {}", c.mlp_ratio);
  check(c.drop_path_rate >= 0 && c.drop_path_rate < 1, op, "drop_path_rate must be in [0, 1), got {}",
        c.drop_path_rate);
  for (size_t i = 0; i < 4; ++i) {
    check(c.depths[i] >= 0, op, "depths must not be negative, got {}", c.depths[i]);
    const int64_t dim = c.dim << i;
    check(i < 2 || (c.num_heads[i] >= 1 && dim % c.num_heads[i] == 0), op,
          "stage {} has {} channels, which do not divide into {} heads (change dim or num_heads)", i, dim,
          c.num_heads[i]);
    check(i < 2 || c.window_size[i] >= 1, op, "window_size of stage {} must be at least 1, got {}", i,
          c.window_size[i]);
  }
}

/// The configuration as a JSON object.
inline std::string to_json(const MambaVisionConfig& c) {
  return fmt::format(
      R"({{"dim": {}, "in_dim": {}, "depths": {}, "num_heads": {}, "window_size": {}, "mlp_ratio": {}, "drop_path_rate": {}, )"
      R"("layer_scale": {}, "num_classes": {}, "resolution": {}, "d_state": {}, "d_conv": {}}})",
      c.dim, c.in_dim, detail::json_list(c.depths), detail::json_list(c.num_heads), detail::json_list(c.window_size),
      c.mlp_ratio, c.drop_path_rate, c.layer_scale ? fmt::format("{}", *c.layer_scale) : "null", c.num_classes,
      c.resolution, c.d_state, c.d_conv);
}

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
    if (!drop_path.training() && atlas::detail::inference_mode())
      return second_(first_(x, Activation::gelu_tanh), Activation::none, x);
    Tensor y = first_(x, Activation::gelu_tanh);
    y = second_(y);
    y = drop_path(y);
    return x + std::move(y);
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

  Sequential conv_down;
};

/// MambaVision.   images [B, H, W, 3] of any size -> logits [B, classes]
class MambaVision : public Classifier {
 public:
  /// @throws Error for a configuration that does not fit together.
  explicit MambaVision(const MambaVisionConfig& config = {})
      : patch_embed((validate(config), config.in_dim), config.dim),
        norm(8 * config.dim),
        head(8 * config.dim, config.num_classes),
        config_(config) {
    register_module("patch_embed", patch_embed);
    for (size_t i = 0; i < 4; ++i) levels.add(config, i);
    register_modules({{"levels", levels}, {"norm", norm}, {"head", head}});
    detail::init_linears(*this);
  }
  Tensor forward(const Tensor& images) const override {
    const Tensor features = pooled_features(images);
    return head(features);
  }
  /// Batch norm and mean of the last map.   -> [B, 8 dim]
  Tensor pooled_features(const Tensor& images, std::vector<Tensor>* maps = nullptr) const override {
    Tensor x = run(images, maps);
    x = norm(x);
    return mean(x, {1, 2});
  }
  /// The four maps before each downsample, strides 4, 8, 16, 32, channels dim · 2ⁱ.
  std::vector<Tensor> feature_maps(const Tensor& images) const override {
    std::vector<Tensor> maps;
    run(images, &maps);
    return maps;
  }

  std::vector<std::pair<std::string, std::string>> parts() const override {
    return {{"stem", "patch_embed"}, {"0", "levels.0"}, {"1", "levels.1"}, {"2", "levels.2"}, {"3", "levels.3"}};
  }
  std::string head_name() const override { return "head"; }

  std::string family() const override { return "mambavision"; }
  std::string config_json() const override { return to_json(config_); }
  int64_t num_classes() const override { return config_.num_classes; }
  int64_t image_size() const override { return config_.resolution; }
  const MambaVisionConfig& config() const { return config_; }

  MambaVisionPatchEmbed patch_embed;
  ModuleList<MambaVisionStage> levels;
  BatchNorm2d norm;
  Linear head;

 private:
  /// The last map; every stage's map goes to `maps` when that is given, and is freed on the way when not.
  Tensor run(const Tensor& images, std::vector<Tensor>* maps) const {
    check_images(images, head.weight, "MambaVision");
    Tensor x = patch_embed(images);
    for (const auto& level : levels) {
      x = (*level)(x);
      if (maps != nullptr) maps->push_back(x);
      if (level->downsample) x = (*level->downsample)(x);
    }
    return x;
  }

  MambaVisionConfig config_;
};

}  // namespace atlas::inline ATLAS_ABI::models
