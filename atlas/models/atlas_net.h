// AtlasNet: a convolutional stem, then attention inside windows of several scales at once.
//
// Agrawal, Lian et al., "Atlas: Multi-Scale Attention Improves Long Context Image Modeling", arXiv 2503.12355. Member
// names are the names of the published parameters. A scale is a tensor of windows [B · windows, tokens, C], windows in
// row-major order within an image, scale 0 the finest; AtlasPyramid says how an image is cut.
#pragma once

#include <fmt/core.h>

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
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/join.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/reduce.h"

namespace atlas::inline ATLAS_ABI::models {

/// Adds an MLP of each token's (row, column) inside its window, scaled to [-1, 1).
class AtlasWindowPosition : public Module {
 public:
  explicit AtlasWindowPosition(int64_t dim)
      : first_(projector.add<Linear>(2, 512)), last_((projector.add<ReLU>(), projector.add<Linear>(512, dim, false))) {
    register_module("projector", projector);
  }
  /// @param x  [windows, height · width, C]; the result has its shape
  Tensor add_to(const Tensor& x, int64_t height, int64_t width) const {
    const Tensor table = table_.get({first_.weight, first_.bias, last_.weight},
                                    [&] { return projector(coordinates(height, width, x)); }, {height, width});
    return x + table;
  }

  Sequential projector;

 private:
  /// [height · width, 2], of the weights' type and on the device of x.
  Tensor coordinates(int64_t height, int64_t width, const Tensor& x) const {
    const DType dtype = first_.weight.dtype();
    return constants_.get(x.device(), {height, width, static_cast<int64_t>(dtype)},
                          [&] { return coordinates(height, width).to(dtype); });
  }
  /// float64 [height · width, 2]; the middle of a window is at 0, and so is an axis of one token.
  static Tensor coordinates(int64_t height, int64_t width) {
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

  const Linear &first_, &last_;
  Derived<Tensor> table_;
  ConstantCache constants_;
};

/// Projections of one scale's attention.
class AtlasCrossAttention : public Module {
 public:
  explicit AtlasCrossAttention(int64_t dim) : q(dim, dim), kv(dim, 2 * dim), proj(dim, dim) {
    register_modules({{"q", q}, {"kv", kv}, {"proj", proj}});
  }

  Linear q, kv, proj;
};

/// The transformer block that one scale owns; used twice per multi-scale block (down pass and up pass).
class AtlasScaleBlock : public Module {
 public:
  AtlasScaleBlock(const AtlasConfig& c, double drop_path_rate)
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
  /// Queries [windows, L, C], heads side by side.
  Tensor query(const Tensor& x) const {
    const Tensor y = norm1_q(x);
    return attn.q(y);
  }
  /// Keys and values, each a strided view [windows, L, heads, D] of the projection; padding is masked.
  KeyValue key_value(const Tensor& x, const Tensor& padding) const {
    Tensor y = norm1_kv(x);
    y = attn.kv(y).reshape({x.size(0), x.size(1), 2, heads_, x.size(2) / heads_});
    return {y.select(2, 0), y.select(2, 1), padding};
  }
  /// What the queries gather from the sources, after the projection.   -> [windows, L, C]
  /// @param places  says, to who asks, where queries and sources lie
  template <class Places>
  Tensor attend(const Tensor& q, const std::vector<KeyValue>& sources, const Places& places) const {
    return attn.proj(gather(q, sources, places));
  }
  /// The same as a residual of x.
  template <class Places>
  Tensor attend_onto(const Tensor& x, const Tensor& q, const std::vector<KeyValue>& sources,
                     const Places& places) const {
    const Tensor y = gather(q, sources, places);
    return drop_path.drops() ? x + drop_path(attn.proj(y)) : attn.proj.onto(x, y);
  }
  /// The perceptron's residual.
  Tensor finish(const Tensor& x) const {
    const Tensor h = norm2(x);
    return drop_path.drops() ? x + drop_path(mlp(h)) : mlp.onto(x, h);
  }

  LayerNorm norm1_q, norm1_kv;
  AtlasCrossAttention attn;
  LayerNorm norm2;
  Mlp mlp;
  DropPath drop_path;

 private:
  template <class Places>
  Tensor gather(const Tensor& q, const std::vector<KeyValue>& sources, const Places& places) const {
    const Tensor heads = q.reshape({q.size(0), q.size(1), heads_, q.size(2) / heads_});
    const AttentionScope scope(attn, places);
    return attention(heads, sources).reshape(q.shape());
  }

  int64_t heads_;
};

/// One multi-scale attention block over all scales of a macro stage (arXiv 2503.12355, section 3).
class AtlasBlock : public Module {
 public:
  AtlasBlock(const AtlasConfig& c, size_t scales, double drop_path_rate) {
    for (size_t s = 0; s < scales; ++s) {
      blocks.add(c, drop_path_rate);
      posemb.add(c.dim);
    }
    register_modules({{"blocks", blocks}, {"posemb", posemb}});
  }
  /// Windows of every scale, fine to coarse, to the same.
  std::vector<Tensor> run(std::vector<Tensor> x, const AtlasPyramid& scales) const {
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

  ModuleList<AtlasScaleBlock> blocks;
  ModuleList<AtlasWindowPosition> posemb;

 private:
  static AttentionRecord places_down(const AtlasPyramid& scales, size_t s) {
    AttentionRecord record{"", "down", {}, scales.place(s), {}};
    for (size_t t = s; t < scales.size(); ++t) record.sources.push_back({scales.place(t), scales.read_by(s, t)});
    return record;
  }
  static AttentionRecord places_up(const AtlasPyramid& scales, size_t s) {
    return {"", "up", {}, scales.place(s, scales.over_finer(s)), {{scales.place(s - 1), scales.read_by(s - 1, s - 1)}}};
  }
};

/// The blocks of a macro stage. Drop-path rates start again at 0 in every one.
class AtlasLevel : public Module {
 public:
  AtlasLevel(const AtlasConfig& c, size_t scales, int64_t depth) {
    for (int64_t i = 0; i < depth; ++i) blocks.add(c, scales, detail::drop_path_rate(c.drop_path_rate, i, depth));
    register_module("blocks", blocks);
  }

  ModuleList<AtlasBlock> blocks;
};

/// Blocks that work on the same scales; the first macro stage also owns the stem.
class AtlasMacroStage : public Module {
 public:
  AtlasMacroStage(const AtlasConfig& c, size_t scales, int64_t depth, bool with_stem) {
    if (with_stem) register_module("patch_embed", patch_embed.emplace(c.stem_dim, c.dim, c.patch));
    levels.add(c, scales, depth);
    register_module("levels", levels);
  }
  std::vector<Tensor> run(std::vector<Tensor> x, const AtlasPyramid& scales) const {
    for (const auto& block : levels[0].blocks) x = block->run(std::move(x), scales);
    return x;
  }

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

  explicit AtlasBackbone(const Config& config)
      : config_(config), scales_(atlas_scales(config.tokens(), config.window, config.ratio).size()) {
    detail::skip_streams_of_head();
    for (size_t i = 0; i < config.depths.size(); ++i)
      atlas_models.add(config, i < scales_ ? scales_ - i : 1, config.depths[i], i == 0);
    register_module("atlas_models", atlas_models);
    detail::init_linears(*this);
  }
  /// One map per scale, fine to coarse: as it was when its macro stage dropped it, or at the end.
  std::vector<Tensor> maps(const Tensor& images) const override {
    std::vector<Tensor> all;
    features(images, &all);
    return all;
  }
  /// patch, patch · ratio, ...
  std::vector<int64_t> strides() const override {
    std::vector<int64_t> all;
    for (int64_t stride = config_.patch; all.size() < scales_; stride *= config_.ratio) all.push_back(stride);
    return all;
  }
  std::vector<int64_t> channels() const override { return std::vector<int64_t>(scales_, config_.dim); }
  /// Tokens of the scales left after the last macro stage, fine to coarse, each [B, L, C] in the order of its windows,
  /// without padding.
  std::vector<Tensor> features(const Tensor& images, std::vector<Tensor>* all = nullptr) const override {
    return features(images, all, nullptr);
  }
  /// The stem's maps at strides 4 and 8 as far as they are finer than a patch, then one map per scale.
  std::vector<Tensor> dense_maps(const Tensor& images) const override {
    std::vector<Tensor> all, scales;
    features(images, &scales, &all);
    all.insert(all.end(), scales.begin(), scales.end());
    return all;
  }
  std::vector<int64_t> dense_strides() const override {
    std::vector<int64_t> all, coarse = strides();
    for (int64_t stride = 4; stride < config_.patch; stride *= 2) all.push_back(stride);
    all.insert(all.end(), coarse.begin(), coarse.end());
    return all;
  }
  std::vector<int64_t> dense_channels() const override {
    std::vector<int64_t> all, coarse = channels();
    for (int64_t stride = 4; stride < config_.patch; stride *= 2) all.push_back(config_.dim * stride / config_.patch);
    all.insert(all.end(), coarse.begin(), coarse.end());
    return all;
  }
  std::vector<std::pair<std::string, std::string>> parts() const override {
    std::vector<std::pair<std::string, std::string>> all{{"stem", "atlas_models.0.patch_embed"}};
    for (size_t i = 0; i < atlas_models.size(); ++i)
      all.emplace_back(fmt::format("{}", i), fmt::format("atlas_models.{}.levels", i));
    return all;
  }
  /// The attention of the finest scale in every block; by default, that of each macro stage's last block.
  std::vector<AttentionLayer> attention_layers() const override {
    std::vector<AttentionLayer> all;
    for (size_t i = 0; i < atlas_models.size(); ++i) {
      const int64_t blocks = std::ssize(atlas_models[i].levels[0].blocks);
      for (int64_t b = 0; b < blocks; ++b)
        all.push_back({fmt::format("atlas_models.{}.levels.0.blocks.{}.blocks.0.attn", i, b),
                       fmt::format("macro stage {}, block {}", i, b), b, b + 1 == blocks, true});
    }
    return all;
  }
  /// How images of a size are cut in the first macro stage.
  AtlasPyramid pyramid(int64_t height, int64_t width, Device device = {}) const {
    return {(height + config_.patch - 1) / config_.patch,
            (width + config_.patch - 1) / config_.patch,
            config_.window,
            config_.ratio,
            scales_,
            config_.patch,
            &constants_,
            device};
  }

  ModuleList<AtlasMacroStage> atlas_models;

 private:
  /// features(); the stem's maps go to `finer` when given.
  std::vector<Tensor> features(const Tensor& images, std::vector<Tensor>* all, std::vector<Tensor>* finer) const {
    check_images(images, atlas_models[0].patch_embed->weight(), AtlasConfig::kTitle);
    AtlasPyramid scales = pyramid(images.size(1), images.size(2), images.device());
    std::vector<Tensor> x = run(images, scales, all, finer);
    for (size_t s = 0; s < x.size(); ++s) {
      if (all != nullptr) all->push_back(detail::to_map(x[s], scales[s]));
      x[s] = detail::real_tokens(x[s], scales, s);
    }
    return x;
  }
  /// Windows of the scales left after the last macro stage; maps of dropped scales go to `dropped` when given.
  std::vector<Tensor> run(const Tensor& images, AtlasPyramid& scales, std::vector<Tensor>* dropped,
                          std::vector<Tensor>* finer) const {
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
      if (x.size() == 1 || i + 1 == atlas_models.size()) continue;
      if (dropped != nullptr) dropped->push_back(detail::to_map(x[0], scales[0]));
      x.erase(x.begin());
      scales.drop_finest();
    }
    return x;
  }

  AtlasConfig config_;
  size_t scales_;  // of the first macro stage
  ConstantCache constants_;
};

/// Mean over the tokens of all scales that are left, between two norms, and a linear layer.
class AtlasHead : public ClassifyHead {
 public:
  static constexpr const char* kLinear = "fc";

  explicit AtlasHead(const AtlasConfig& config)
      : readout_norm(config.dim),
        fc_norm(config.dim),
        fc((SkipInit(), config.dim), config.num_classes) {  // init_linears() draws it
    register_modules({{"readout_norm", readout_norm}, {"fc_norm", fc_norm}, {"fc", fc}});
    detail::init_linears(*this);
  }
  Tensor pool(const std::vector<Tensor>& features) const override {
    return fc_norm(mean(readout_norm(cat(features, 1)), {1}));
  }
  Tensor forward(const Tensor& pooled) const override { return fc(pooled); }

  LayerNorm readout_norm, fc_norm;
  Linear fc;
};

/// Atlas.   images [B, H, W, 3] of any size -> logits [B, classes]
using AtlasNet = ClassifierOf<AtlasBackbone, AtlasHead>;

}  // namespace atlas::inline ATLAS_ABI::models
