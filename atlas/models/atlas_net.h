// AtlasNet: a convolutional stem, then attention inside windows of several scales at once.
//
// Agrawal, Lian et al., "Atlas: Multi-Scale Attention Improves Long Context Image Modeling", arXiv 2503.12355. Member
// names are the names of the published parameters. A scale is a tensor of windows [B · grid², side², C], windows in
// row-major order within an image, scale 0 the finest.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "atlas/models/atlas_config.h"
#include "atlas/models/stem.h"
#include "atlas/nn/activation.h"
#include "atlas/nn/container.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/join.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/window.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

/// [B, grid · side, grid · side, C] -> [B · grid², side², C]
inline Tensor to_windows(const Tensor& map, AtlasScale s) {
  return s.grid == 1 ? map.reshape({map.size(0), s.side * s.side, map.size(3)}) : window_partition(map, s.side);
}
/// The inverse of to_windows.
inline Tensor to_map(const Tensor& windows, AtlasScale s) {
  const int64_t batch = windows.size(0) / (s.grid * s.grid), width = s.grid * s.side;
  if (s.grid == 1) return windows.reshape({batch, width, width, windows.size(2)});
  return window_reverse(windows, s.side, batch, width, width);
}
/// The same tokens cut into other windows.
inline Tensor regroup(const Tensor& windows, AtlasScale from, AtlasScale to) {
  return from == to ? windows : to_windows(to_map(windows, from), to);
}
/// Maximum over ratio x ratio tokens, cut into the windows of the next coarser scale.
inline Tensor pool_windows(const Tensor& windows, AtlasScale from, AtlasScale to, int64_t ratio) {
  if (from.side % ratio != 0) return to_windows(max_pool2d(to_map(windows, from), ratio), to);
  // No cell crosses a window: pool inside the windows, so that only the small result is rearranged.
  const AtlasScale small{from.grid, from.side / ratio};
  const Tensor maps = windows.reshape({windows.size(0), from.side, from.side, windows.size(2)});
  return regroup(max_pool2d(maps, ratio).reshape({windows.size(0), small.side * small.side, windows.size(2)}), small,
                 to);
}

}  // namespace detail

/// Adds an MLP of each token's (row, column) inside its window, scaled to [-1, 1).   x: [windows, side², C] -> same
class AtlasWindowPosition : public Module {
 public:
  explicit AtlasWindowPosition(int64_t dim) {
    projector.add<Linear>(2, 512);
    projector.add<ReLU>();
    projector.add<Linear>(512, dim, false);
    register_module("projector", projector);
  }
  Tensor forward(const Tensor& x) const override { return x + projector(coordinates(x)); }

  Sequential projector;

 private:
  /// [side², 2], in x's dtype and on its device.
  static Tensor coordinates(const Tensor& x) {
    int64_t side = 1;
    while ((side + 1) * (side + 1) <= x.size(1)) ++side;
    const int64_t half = std::max<int64_t>(side / 2, 1);  // a window of one token is at 0
    Tensor t = empty({side * side, 2}, float64);
    double* at = t.data<double>();
    for (int64_t i = 0; i < side * side; ++i) {
      at[2 * i] = static_cast<double>(i / side - side / 2) / static_cast<double>(half);
      at[2 * i + 1] = static_cast<double>(i % side - side / 2) / static_cast<double>(half);
    }
    return t.to(x.dtype()).to(x.device());
  }
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
  /// Keys and values, each a strided view [windows, L, heads, D] of the projection.
  KeyValue key_value(const Tensor& x) const {
    Tensor y = norm1_kv(x);
    y = attn.kv(y).reshape({x.size(0), x.size(1), 2, heads_, x.size(2) / heads_});
    return {y.select(2, 0), y.select(2, 1)};
  }
  /// What the queries gather from the sources.   -> [windows, L, C]
  Tensor attend(const Tensor& q, const std::vector<KeyValue>& sources) const {
    Tensor y = attention(q.reshape({q.size(0), q.size(1), heads_, q.size(2) / heads_}), sources);
    y = y.reshape(q.shape());
    return attn.proj(y);
  }
  /// x + attended, then the perceptron's residual.
  Tensor finish(const Tensor& x, const Tensor& attended) const {
    const Tensor y = x + drop_path(attended);
    Tensor h = norm2(y);
    h = mlp(h);
    h = drop_path(h);
    return y + h;
  }

  LayerNorm norm1_q, norm1_kv;
  AtlasCrossAttention attn;
  LayerNorm norm2;
  Mlp mlp;
  DropPath drop_path;

 private:
  int64_t heads_;
};

/// One multi-scale attention block over all scales of a macro stage (arXiv 2503.12355, section 3).
class AtlasBlock : public Module {
 public:
  AtlasBlock(const AtlasConfig& c, std::vector<AtlasScale> scales, double drop_path_rate)
      : scales_(std::move(scales)), ratio_(c.ratio) {
    for (size_t s = 0; s < scales_.size(); ++s) {
      blocks.add(c, drop_path_rate);
      posemb.add(c.dim);
    }
    register_modules({{"blocks", blocks}, {"posemb", posemb}});
  }
  /// Windows of every scale, fine to coarse, to the same.
  std::vector<Tensor> run(std::vector<Tensor> x) const {
    const size_t n = x.size();
    for (size_t s = 0; s < n; ++s) x[s] = posemb[s](x[s]);
    // Summarise upwards: each scale adds the maximum of the finer one, which has its own summary already.
    for (size_t s = 0; s + 1 < n; ++s)
      x[s + 1] = x[s + 1] + detail::pool_windows(x[s], scales_[s], scales_[s + 1], ratio_);

    // Down pass, coarse to fine: a window attends to itself and to one window of every coarser scale, whose keys and
    // values are computed once, from the updated tokens. Window i reads window i / (count / coarser count) in row-major
    // order: for grids above 2 x 2 that is not the window lying over it, but the published weights expect it.
    std::vector<KeyValue> cache(n);
    for (size_t s = n; s-- > 0;) {
      std::vector<KeyValue> sources{blocks[s].key_value(x[s])};
      sources.insert(sources.end(), cache.begin() + static_cast<std::ptrdiff_t>(s) + 1, cache.end());
      const Tensor y = blocks[s].attend(blocks[s].query(x[s]), sources);
      sources.clear();
      x[s] = blocks[s].finish(x[s], y);
      if (n > 1) cache[s] = blocks[s].key_value(x[s]);
    }

    // Up pass, fine to coarse: a coarse token attends to the fine window that lies under it.
    cache.resize(std::min<size_t>(n, 1));
    for (size_t s = 1; s < n; ++s) {
      const AtlasScale under{scales_[s - 1].grid, scales_[s].grid * scales_[s].side / scales_[s - 1].grid};
      if (s > 1) cache[0] = blocks[s - 1].key_value(x[s - 1]);
      const Tensor q = detail::regroup(blocks[s].query(x[s]), scales_[s], under);
      const Tensor y = blocks[s].attend(q, cache);
      x[s] = blocks[s].finish(x[s], detail::regroup(y, under, scales_[s]));
    }
    return x;
  }

  ModuleList<AtlasScaleBlock> blocks;
  ModuleList<AtlasWindowPosition> posemb;

 private:
  std::vector<AtlasScale> scales_;
  int64_t ratio_;
};

/// The blocks of a macro stage. Drop-path rates start again at 0 in every one.
class AtlasLevel : public Module {
 public:
  AtlasLevel(const AtlasConfig& c, const std::vector<AtlasScale>& scales, int64_t depth) {
    for (int64_t i = 0; i < depth; ++i) blocks.add(c, scales, detail::drop_path_rate(c.drop_path_rate, i, depth));
    register_module("blocks", blocks);
  }

  ModuleList<AtlasBlock> blocks;
};

/// Blocks that work on the same scales; the first macro stage also owns the stem.
class AtlasMacroStage : public Module {
 public:
  AtlasMacroStage(const AtlasConfig& c, const std::vector<AtlasScale>& scales, int64_t depth, bool with_stem) {
    if (with_stem) register_module("patch_embed", patch_embed.emplace(c.stem_dim, c.dim, c.patch));
    levels.add(c, scales, depth);
    register_module("levels", levels);
  }
  std::vector<Tensor> run(std::vector<Tensor> x) const {
    for (const auto& block : levels[0].blocks) x = block->run(std::move(x));
    return x;
  }

  std::optional<AtlasStem> patch_embed;
  ModuleList<AtlasLevel> levels;
};

/// Atlas.   images [B, image, image, 3] -> logits [B, classes]
class AtlasNet : public Classifier {
 public:
  /// @throws Error for a configuration that does not fit together; an impossible image size lists sizes that fit.
  explicit AtlasNet(const AtlasConfig& config = {})
      : readout_norm((validate(config), config.dim)),
        fc_norm(config.dim),
        fc(config.dim, config.num_classes),
        config_(config),
        scales_(atlas_scales(config.image / config.patch, config.window, config.ratio)) {
    std::vector<AtlasScale> left = scales_;
    for (size_t i = 0; i < config.depths.size(); ++i) {
      atlas_models.add(config, left, config.depths[i], i == 0);
      if (left.size() > 1) left.erase(left.begin());
    }
    register_modules(
        {{"atlas_models", atlas_models}, {"readout_norm", readout_norm}, {"fc_norm", fc_norm}, {"fc", fc}});
    detail::init_linears(*this);
  }
  Tensor forward(const Tensor& images) const override {
    Tensor x = cat(forward_features(images), 1);
    x = readout_norm(x);
    x = fc_norm(mean(x, {1}));
    return fc(x);
  }
  /// Tokens of the scales left after the last macro stage, fine to coarse, each [B, L, C] in the order of its windows.
  std::vector<Tensor> forward_features(const Tensor& images) const {
    std::vector<Tensor> x = run(images, nullptr);
    for (Tensor& t : x) t = t.reshape({images.size(0), -1, config_.dim});
    return x;
  }
  /// One map per scale, fine to coarse (strides patch, patch · ratio, ...): as it was when its macro stage dropped it,
  /// or at the end. Each is [B, H, W, C].
  std::vector<Tensor> feature_maps(const Tensor& images) const override {
    std::vector<Tensor> maps, x = run(images, &maps);
    const size_t dropped = maps.size();
    for (size_t s = 0; s < x.size(); ++s) maps.push_back(detail::to_map(x[s], scales_[dropped + s]));
    return maps;
  }

  std::string family() const override { return "atlas"; }
  std::string config_json() const override { return to_json(config_); }
  int64_t num_classes() const override { return config_.num_classes; }
  int64_t image_size() const override { return config_.image; }
  const AtlasConfig& config() const { return config_; }
  /// The scales of the first macro stage, fine to coarse.
  const std::vector<AtlasScale>& scales() const { return scales_; }

  ModuleList<AtlasMacroStage> atlas_models;
  LayerNorm readout_norm, fc_norm;
  Linear fc;

 private:
  /// Windows of the scales left after the last macro stage; maps of dropped scales go to `dropped` when given.
  std::vector<Tensor> run(const Tensor& images, std::vector<Tensor>* dropped) const {
    check_images(images, fc.weight, "AtlasNet");
    check(images.size(1) == config_.image && images.size(2) == config_.image, "AtlasNet",
          "this model was built for images of {0} x {0} pixels, got {1} (resize them, or build the model for another "
          "size)",
          config_.image, describe(images));
    std::vector<Tensor> x;
    {
      const Tensor map = (*atlas_models[0].patch_embed)(images);
      int64_t shrink = 1;
      for (const AtlasScale s : scales_) {
        x.push_back(detail::to_windows(shrink > 1 ? max_pool2d(map, shrink) : map, s));
        shrink *= config_.ratio;
      }
    }
    size_t finest = 0;
    for (size_t i = 0; i < atlas_models.size(); ++i) {
      const bool drop = x.size() > 1 && i + 1 < atlas_models.size();
      x = atlas_models[i].run(std::move(x));
      if (!drop) continue;
      if (dropped != nullptr) dropped->push_back(detail::to_map(x[0], scales_[finest]));
      x.erase(x.begin());
      ++finest;
    }
    return x;
  }

  AtlasConfig config_;
  std::vector<AtlasScale> scales_;
};

}  // namespace atlas::inline ATLAS_ABI::models
