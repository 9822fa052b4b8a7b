// Bodies of mamba_vision.h.
#pragma once

#include <algorithm>
#include <numeric>

#include "atlas/models/mamba_vision.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/window.h"

namespace atlas::inline ATLAS_ABI::models {

ATLAS_INLINE MambaVisionConvBlock::MambaVisionConvBlock(int64_t dim, double drop_path_rate)
    : conv1(dim, dim, 3, detail::conv3x3(1)),
      norm1(dim),
      conv2(dim, dim, 3, detail::conv3x3(1)),
      norm2(dim),
      drop_path(drop_path_rate) {
  register_modules({{"conv1", conv1}, {"norm1", norm1}, {"conv2", conv2}, {"norm2", norm2}, {"drop_path", drop_path}});
}

ATLAS_INLINE Tensor MambaVisionConvBlock::forward(const Tensor& x) const {
  const Tensor y = first_(x, Activation::gelu_tanh);
  return drop_path.drops() ? x + drop_path(second_(y)) : second_(y, Activation::none, x);
}

ATLAS_INLINE MambaVisionHybridBlock::MambaVisionHybridBlock(const MambaVisionConfig& c, int64_t dim, int64_t heads,
                                                            bool attention, double drop_path_rate)
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

ATLAS_INLINE Tensor MambaVisionHybridBlock::forward(const Tensor& x) const {
  const Tensor y = residual(x, norm1, *mixer, gamma_1);
  return residual(y, norm2, mlp, gamma_2);
}

ATLAS_INLINE Tensor MambaVisionHybridBlock::forward_some(const Tensor& x,
                                                         const std::function<Tensor(const Tensor&)>& choose) const {
  check(attention() != nullptr, "mambavision", "a mixer that is no attention needs all tokens");
  const LayerScope layer(*this);
  Tensor z = attention()->forward_some(norm1(x), choose);
  if (gamma_1.defined()) z = gamma_1 * z;
  return residual(choose(x) + drop_path(z), norm2, mlp, gamma_2);
}

ATLAS_INLINE Tensor MambaVisionHybridBlock::residual(const Tensor& x, const Module& norm, const Module& f,
                                                     const Tensor& gamma) const {
  return drop_path.onto(x, f, norm(x), gamma);
}

ATLAS_INLINE MambaVisionDownsample::MambaVisionDownsample(int64_t dim) {
  reduction.add<Conv2d>(dim, 2 * dim, 3, detail::conv3x3(2), false);
  register_module("reduction", reduction);
}

ATLAS_INLINE MambaVisionStage::MambaVisionStage(const MambaVisionConfig& c, size_t i)
    : window_(c.window_size[i]), stride_(int64_t{4} << i), convolutional_(i < 2) {
  const int64_t dim = c.dim << i, depth = c.depths[i];
  const int64_t before =
      std::accumulate(c.depths.begin(), c.depths.begin() + static_cast<std::ptrdiff_t>(i), int64_t{0});
  const int64_t total = std::accumulate(c.depths.begin(), c.depths.end(), int64_t{0});
  const int64_t first_attention = (depth + 1) / 2;  // mixers first, attention last
  for (int64_t j = 0; j < depth; ++j) {
    const double rate = drop_path_rate(c.drop_path_rate, before + j, total);
    if (convolutional_)
      blocks.add<MambaVisionConvBlock>(dim, rate);
    else
      blocks.add<MambaVisionHybridBlock>(c, dim, c.num_heads[i], j >= first_attention, rate);
  }
  register_module("blocks", blocks);
  if (i < 3) register_module("downsample", downsample.emplace(dim));
}

ATLAS_INLINE Tensor MambaVisionStage::forward(const Tensor& x) const {
  if (convolutional_) {
    Tensor y = x;
    for (const auto& block : blocks) y = (*block)(y);
    return y;
  }
  const int64_t height = x.size(1), width = x.size(2);
  const WindowLayout windows{height, width, window_, window_};
  const TokenScope scope({windows, stride_});
  Tensor y = window_partition(x, windows);
  if (blocks.size() == 0) return window_reverse(y, windows, x.size(0));
  for (size_t i = 0; i + 1 < blocks.size(); ++i) y = blocks[i](y);
  const auto& last = static_cast<const MambaVisionHybridBlock&>(blocks[blocks.size() - 1]);
  const auto all = [&] { return window_reverse(last(y), windows, x.size(0)); };
  // Padding is read to the end, but what becomes of it in the last block is cut off.
  const WindowLayout kept{height, width, std::min(height, window_), std::min(width, window_)};
  if (!windows.padded() || kept.padded() || last.attention() == nullptr) return all();
  const auto cut = [&](const Tensor& tokens) {
    const int64_t n = tokens.size(0), channels = tokens.size(2);
    const Tensor map = tokens.reshape({n, window_, window_, channels});
    return map.slice(1, 0, kept.window_height).slice(2, 0, kept.window_width).reshape({n, kept.pixels(), channels});
  };
  return atlas::detail::joined_unless_attention_watched(
      [&] { return window_reverse(last.forward_some(y, cut), kept, x.size(0)); }, all);
}

ATLAS_INLINE MambaVisionPatchEmbed::MambaVisionPatchEmbed(int64_t in_dim, int64_t dim) {
  detail::add_patch_stem(conv_down, in_dim, dim);
  register_module("conv_down", conv_down);
}

ATLAS_INLINE MambaVisionBackbone::MambaVisionBackbone(const Config& config)
    : patch_embed(config.in_dim, config.dim), dim_(config.dim) {
  detail::skip_streams_of_head();
  register_module("patch_embed", patch_embed);
  for (size_t i = 0; i < 4; ++i) levels.add(config, i);
  register_module("levels", levels);
  init_linears(*this);
}

ATLAS_INLINE std::vector<Tensor> MambaVisionBackbone::maps(const Tensor& images) const {
  std::vector<Tensor> all;
  features(images, &all);
  return all;
}

ATLAS_INLINE std::vector<Tensor> MambaVisionBackbone::features(const Tensor& images, std::vector<Tensor>* all) const {
  check_images(images, patch_embed.weight(), MambaVisionConfig::kTitle);
  Tensor x = patch_embed(images);
  for (const auto& level : levels) {
    x = (*level)(x);
    if (all != nullptr) all->push_back(x);
    if (level->downsample) x = (*level->downsample)(x);
  }
  return {x};
}

ATLAS_INLINE std::vector<std::pair<std::string, std::string>> MambaVisionBackbone::parts() const {
  return {{"stem", "patch_embed"}, {"0", "levels.0"}, {"1", "levels.1"}, {"2", "levels.2"}, {"3", "levels.3"}};
}

ATLAS_INLINE std::vector<AttentionLayer> MambaVisionBackbone::attention_layers() const {
  std::vector<AttentionLayer> all;
  for (size_t i = 0; i < levels.size(); ++i)
    for (size_t b = 0; b < levels[i].blocks.size(); ++b) {
      const auto* block = dynamic_cast<const MambaVisionHybridBlock*>(&levels[i].blocks[b]);
      if (block != nullptr && block->attention() != nullptr)
        all.push_back(
            {fmt::format("levels.{}.blocks.{}.mixer", i, b), fmt::format("stage {}, block {}", i, b), std::ssize(all)});
    }
  return all;
}

ATLAS_INLINE MambaVisionHead::MambaVisionHead(const MambaVisionConfig& config)
    : norm(8 * config.dim), head((SkipInit(), 8 * config.dim), config.num_classes) {  // init_linears() draws it
  register_modules({{"norm", norm}, {"head", head}});
  init_linears(*this);
}

ATLAS_INLINE Tensor MambaVisionHead::pool(const std::vector<Tensor>& features) const {
  return mean(norm(features.back()), {1, 2});
}

}  // namespace atlas::inline ATLAS_ABI::models
