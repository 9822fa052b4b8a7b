// Bodies of atlas_net.h.
#pragma once

#include <fmt/core.h>

#include "atlas/models/atlas_net.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/join.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/reduce.h"

namespace atlas::inline ATLAS_ABI::models {

ATLAS_INLINE AtlasWindowPosition::AtlasWindowPosition(int64_t dim)
    : first_(projector.add<Linear>(2, 512)), last_((projector.add<ReLU>(), projector.add<Linear>(512, dim, false))) {
  register_module("projector", projector);
}

ATLAS_INLINE Tensor AtlasWindowPosition::add_to(const Tensor& x, int64_t height, int64_t width) const {
  const Tensor table = table_.get({first_.weight, first_.bias, last_.weight},
                                  [&] { return projector(coordinates(height, width, x)); }, {height, width});
  return x + table;
}

ATLAS_INLINE Tensor AtlasWindowPosition::coordinates(int64_t height, int64_t width, const Tensor& x) const {
  const DType dtype = first_.weight.dtype();
  return constants_.get(x.device(), {height, width, static_cast<int64_t>(dtype)},
                        [&] { return coordinates(height, width).to(dtype); });
}

ATLAS_INLINE Tensor AtlasWindowPosition::coordinates(int64_t height, int64_t width) {
  const auto scaled = [](int64_t i, int64_t side) {
    return static_cast<double>(i - side / 2) / static_cast<double>(std::max<int64_t>(side / 2, 1));
  };
  Tensor t = empty({height * width, 2}, float64, Device{});
  double* at = t.data<double>();
  for (int64_t i = 0; i < height * width; ++i) {
    *at++ = scaled(i / width, height);
    *at++ = scaled(i % width, width);
  }
  return t;
}

ATLAS_INLINE AtlasCrossAttention::AtlasCrossAttention(int64_t dim) : q(dim, dim), kv(dim, 2 * dim), proj(dim, dim) {
  register_modules({{"q", q}, {"kv", kv}, {"proj", proj}});
}

ATLAS_INLINE AtlasScaleBlock::AtlasScaleBlock(const AtlasConfig& c, double drop_path_rate)
    : norm1_q(c.dim),
      norm1_kv(c.dim),
      attn(c.dim),
      norm2(c.dim),
      mlp(c.dim, detail::hidden_size(c.dim, c.mlp_ratio)),
      drop_path(drop_path_rate),
      heads_(c.num_heads) {
  register_modules({{"norm1_q", norm1_q},
                    {"norm1_kv", norm1_kv},
                    {"attn", attn},
                    {"norm2", norm2},
                    {"mlp", mlp},
                    {"drop_path", drop_path}});
}

ATLAS_INLINE Tensor AtlasScaleBlock::query(const Tensor& x) const {
  const Tensor y = norm1_q(x);
  return attn.q(y);
}

ATLAS_INLINE KeyValue AtlasScaleBlock::key_value(const Tensor& x, const Tensor& padding) const {
  Tensor y = norm1_kv(x);
  y = attn.kv(y).reshape({x.size(0), x.size(1), 2, heads_, x.size(2) / heads_});
  return {y.select(2, 0), y.select(2, 1), padding};
}

template <class Places>
Tensor AtlasScaleBlock::attend(const Tensor& q, const std::vector<KeyValue>& sources, const Places& places) const {
  return attn.proj(gather(q, sources, places));
}

template <class Places>
Tensor AtlasScaleBlock::attend_onto(const Tensor& x, const Tensor& q, const std::vector<KeyValue>& sources,
                                    const Places& places) const {
  const Tensor y = gather(q, sources, places);
  return drop_path.onto(x, attn.proj, y);
}

template <class Places>
Tensor AtlasScaleBlock::gather(const Tensor& q, const std::vector<KeyValue>& sources, const Places& places) const {
  const Tensor heads = q.reshape({q.size(0), q.size(1), heads_, q.size(2) / heads_});
  const AttentionScope scope(attn, places);
  return attention(heads, sources).reshape(q.shape());
}

ATLAS_INLINE Tensor AtlasScaleBlock::finish(const Tensor& x) const { return drop_path.onto(x, mlp, norm2(x)); }

ATLAS_INLINE AtlasBlock::AtlasBlock(const AtlasConfig& c, size_t scales, double drop_path_rate) {
  for (size_t s = 0; s < scales; ++s) {
    blocks.add(c, drop_path_rate);
    posemb.add(c.dim);
  }
  register_modules({{"blocks", blocks}, {"posemb", posemb}});
}

ATLAS_INLINE std::vector<Tensor> AtlasBlock::run(std::vector<Tensor> x, const AtlasPyramid& scales) const {
  const size_t n = x.size();
  for (size_t s = 0; s < n; ++s) x[s] = posemb[s].add_to(x[s], scales[s].window_height, scales[s].window_width);
  // Summarize upwards: each scale adds the maximum of the finer one, which has its own summary already.
  for (size_t s = 0; s + 1 < n; ++s)
    x[s + 1] = x[s + 1] + detail::pool_windows(x[s], scales[s], scales[s + 1], scales.ratio());

  // Down pass, coarse to fine: a window attends to itself and to one window of every coarser scale, whose keys and
  // values are computed once, from the updated tokens.
  std::vector<KeyValue> cache(n);
  for (size_t s = n; s-- > 0;) {
    std::vector<KeyValue> sources{blocks[s].key_value(x[s], scales.padding(s))};
    for (size_t t = s + 1; t < n; ++t) sources.push_back(detail::read_coarser(scales, s, t, cache[t]));
    x[s] = blocks[s].attend_onto(x[s], blocks[s].query(x[s]), sources,
                                 [&](const Tensor&) { return places_down(scales, s); });
    sources.clear();
    x[s] = blocks[s].finish(x[s]);
    if (n > 1) cache[s] = blocks[s].key_value(x[s], scales.padding(s));
  }

  // Up pass, fine to coarse: a coarse token attends to the fine window that lies under it.
  cache.resize(std::min<size_t>(n, 1));
  for (size_t s = 1; s < n; ++s) {
    const WindowLayout over = scales.over_finer(s);
    if (s > 1) cache[0] = blocks[s - 1].key_value(x[s - 1], scales.padding(s - 1));
    const Tensor q = detail::regroup(blocks[s].query(x[s]), scales[s], over);
    const Tensor y = blocks[s].attend(q, cache, [&](const Tensor&) { return places_up(scales, s); });
    x[s] = x[s] + blocks[s].drop_path(detail::regroup(y, over, scales[s]));
    x[s] = blocks[s].finish(x[s]);
  }
  return x;
}

ATLAS_INLINE AttentionRecord AtlasBlock::places_down(const AtlasPyramid& scales, size_t s) {
  AttentionRecord record{"", "down", {}, scales.place(s), {}};
  for (size_t t = s; t < scales.size(); ++t) record.sources.push_back({scales.place(t), scales.read_by(s, t)});
  return record;
}

ATLAS_INLINE AttentionRecord AtlasBlock::places_up(const AtlasPyramid& scales, size_t s) {
  return {"", "up", {}, scales.place(s, scales.over_finer(s)), {{scales.place(s - 1), scales.read_by(s - 1, s - 1)}}};
}

ATLAS_INLINE AtlasLevel::AtlasLevel(const AtlasConfig& c, size_t scales, int64_t depth) {
  for (int64_t i = 0; i < depth; ++i) blocks.add(c, scales, drop_path_rate(c.drop_path_rate, i, depth));
  register_module("blocks", blocks);
}

ATLAS_INLINE AtlasMacroStage::AtlasMacroStage(const AtlasConfig& c, size_t scales, int64_t depth, bool with_stem) {
  if (with_stem) register_module("patch_embed", patch_embed.emplace(c.stem_dim, c.dim, c.patch));
  levels.add(c, scales, depth);
  register_module("levels", levels);
}

ATLAS_INLINE std::vector<Tensor> AtlasMacroStage::run(std::vector<Tensor> x, const AtlasPyramid& scales) const {
  for (const auto& block : levels[0].blocks) x = block->run(std::move(x), scales);
  return x;
}

ATLAS_INLINE AtlasBackbone::AtlasBackbone(const Config& config)
    : config_(config), scales_(atlas_scales(config.tokens(), config.window, config.ratio).size()) {
  detail::skip_streams_of_head();
  for (size_t i = 0; i < config.depths.size(); ++i)
    atlas_models.add(config, i < scales_ ? scales_ - i : 1, config.depths[i], i == 0);
  register_module("atlas_models", atlas_models);
  init_linears(*this);
}

ATLAS_INLINE std::vector<Tensor> AtlasBackbone::maps(const Tensor& images) const {
  std::vector<Tensor> all;
  features(images, &all);
  return all;
}

ATLAS_INLINE std::vector<int64_t> AtlasBackbone::strides() const {
  std::vector<int64_t> all;
  for (int64_t stride = config_.patch; all.size() < scales_; stride *= config_.ratio) all.push_back(stride);
  return all;
}

ATLAS_INLINE std::vector<Tensor> AtlasBackbone::features(const Tensor& images, std::vector<Tensor>* all) const {
  return features(images, all, nullptr);
}

ATLAS_INLINE std::vector<Tensor> AtlasBackbone::dense_maps(const Tensor& images) const {
  std::vector<Tensor> all, scales;
  features(images, &scales, &all);
  all.insert(all.end(), scales.begin(), scales.end());
  return all;
}

ATLAS_INLINE std::vector<int64_t> AtlasBackbone::dense_strides() const {
  std::vector<int64_t> all, coarse = strides();
  for (int64_t stride = 4; stride < config_.patch; stride *= 2) all.push_back(stride);
  all.insert(all.end(), coarse.begin(), coarse.end());
  return all;
}

ATLAS_INLINE std::vector<int64_t> AtlasBackbone::dense_channels() const {
  std::vector<int64_t> all, coarse = channels();
  for (int64_t stride = 4; stride < config_.patch; stride *= 2) all.push_back(config_.dim * stride / config_.patch);
  all.insert(all.end(), coarse.begin(), coarse.end());
  return all;
}

ATLAS_INLINE std::vector<std::pair<std::string, std::string>> AtlasBackbone::parts() const {
  std::vector<std::pair<std::string, std::string>> all{{"stem", "atlas_models.0.patch_embed"}};
  for (size_t i = 0; i < atlas_models.size(); ++i)
    all.emplace_back(fmt::format("{}", i), fmt::format("atlas_models.{}.levels", i));
  return all;
}

ATLAS_INLINE std::vector<AttentionLayer> AtlasBackbone::attention_layers() const {
  std::vector<AttentionLayer> all;
  for (size_t i = 0; i < atlas_models.size(); ++i) {
    const int64_t blocks = std::ssize(atlas_models[i].levels[0].blocks);
    for (int64_t b = 0; b < blocks; ++b)
      all.push_back({fmt::format("atlas_models.{}.levels.0.blocks.{}.blocks.0.attn", i, b),
                     fmt::format("macro stage {}, block {}", i, b), b, b + 1 == blocks, true});
  }
  return all;
}

ATLAS_INLINE AtlasPyramid AtlasBackbone::pyramid(int64_t height, int64_t width, Device device) const {
  return {(height + config_.patch - 1) / config_.patch,
          (width + config_.patch - 1) / config_.patch,
          config_.window,
          config_.ratio,
          scales_,
          config_.patch,
          &constants_,
          device};
}

ATLAS_INLINE std::vector<Tensor> AtlasBackbone::features(const Tensor& images, std::vector<Tensor>* all,
                                                         std::vector<Tensor>* finer) const {
  check_images(images, atlas_models[0].patch_embed->weight(), AtlasConfig::kTitle);
  AtlasPyramid scales = pyramid(images.size(1), images.size(2), images.device());
  std::vector<Tensor> x = run(images, scales, all, finer);
  for (size_t s = 0; s < x.size(); ++s) {
    if (all != nullptr) all->push_back(detail::to_map(x[s], scales[s]));
    x[s] = detail::real_tokens(x[s], scales, s);
  }
  return x;
}

ATLAS_INLINE std::vector<Tensor> AtlasBackbone::run(const Tensor& images, AtlasPyramid& scales,
                                                    std::vector<Tensor>* dropped, std::vector<Tensor>* finer) const {
  std::vector<Tensor> x;
  {
    const AtlasStem& stem = *atlas_models[0].patch_embed;
    const Tensor map = finer != nullptr ? stem.forward(images, finer) : stem(images);
    int64_t shrink = 1;
    for (size_t s = 0; s < scales.size(); ++s, shrink *= config_.ratio)
      x.push_back(detail::to_windows(s > 0 ? detail::pool_map(map, shrink, scales[s].height, scales[s].width) : map,
                                     scales[s]));
  }
  for (size_t i = 0; i < atlas_models.size(); ++i) {
    x = atlas_models[i].run(std::move(x), scales);
    if (x.size() == 1 && finer != nullptr) break;
    if (x.size() == 1 || i + 1 == atlas_models.size()) continue;
    if (dropped != nullptr) dropped->push_back(detail::to_map(x[0], scales[0]));
    x.erase(x.begin());
    scales.drop_finest();
  }
  return x;
}

ATLAS_INLINE AtlasHead::AtlasHead(const AtlasConfig& config)
    : readout_norm(config.dim),
      fc_norm(config.dim),
      fc((SkipInit(), config.dim), config.num_classes) {  // init_linears() draws it
  register_modules({{"readout_norm", readout_norm}, {"fc_norm", fc_norm}, {"fc", fc}});
  init_linears(*this);
}

ATLAS_INLINE Tensor AtlasHead::pool(const std::vector<Tensor>& features) const {
  return fc_norm(mean(readout_norm(cat(features, 1)), {1}));
}

}  // namespace atlas::inline ATLAS_ABI::models
