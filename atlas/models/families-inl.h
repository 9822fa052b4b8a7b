// The families of classifiers that exist from the start: their presets, and how presets follow the image size.
#pragma once

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "atlas/models/atlas_config.h"
#include "atlas/models/mamba_vision_config.h"
#include "atlas/models/preset.h"

namespace atlas::inline ATLAS_ABI::models::detail {

/// A window larger than the map would hold padding alone.
inline void within_map(MambaVisionConfig& c, const std::set<std::string>& given) {
  for (size_t i = 2; i < 4 && !given.contains("window_size"); ++i) {
    const int64_t stride = int64_t{4} << i;
    c.window_size[i] = std::min(c.window_size[i], (c.resolution + stride - 1) / stride);
  }
}

inline std::vector<Preset<MambaVisionConfig>> mambavision_presets() {
  using Four = std::array<int64_t, 4>;
  const auto make = [](int64_t dim, int64_t in_dim, Four depths, Four heads, Four windows, double drop, bool scale,
                       int64_t side) {
    MambaVisionConfig c{.dim = dim, .in_dim = in_dim, .depths = depths, .num_heads = heads, .window_size = windows};
    c.drop_path_rate = drop;
    if (scale) c.layer_scale = 1e-5;
    c.resolution = side;
    if (side == 32) c.num_classes = 10;
    return c;
  };
  constexpr Four few{2, 4, 8, 16}, many{4, 8, 16, 32}, at224{8, 8, 14, 7}, at256{8, 8, 16, 8}, at512{8, 8, 32, 16};
  return {
      {"mambavision-t", make(80, 32, {1, 3, 8, 4}, few, at224, 0.2, false, 224), nullptr, {}, {31.8, 4.4}},
      {"mambavision-t2", make(80, 32, {1, 3, 11, 4}, few, at224, 0.2, false, 224), nullptr, {0.98}, {35.1, 5.1}},
      {"mambavision-s", make(96, 64, {3, 3, 7, 5}, few, at224, 0.2, false, 224), nullptr, {0.93}, {50.1, 7.5}},
      {"mambavision-b", make(128, 64, {3, 3, 10, 5}, few, at224, 0.3, true, 224), nullptr, {}, {97.7, 15.0}},
      {"mambavision-l", make(196, 64, {3, 3, 10, 5}, many, at224, 0.3, true, 224), nullptr, {}, {227.9, 34.9}},
      {"mambavision-l2", make(196, 64, {3, 3, 12, 5}, many, at224, 0.3, true, 224), nullptr, {}, {241.5, 37.5}},
      {"mambavision-l2-512", make(196, 64, {3, 3, 12, 5}, many, at512, 0.3, true, 512), nullptr, {0.93, true}, {}},
      {"mambavision-l3-256", make(256, 64, {3, 3, 20, 10}, many, at256, 0.5, true, 256), nullptr, {}, {}},
      {"mambavision-l3-512",
       make(256, 64, {3, 3, 20, 10}, many, at512, 0.5, true, 512),
       nullptr,
       {0.93, true},
       {739.6, 489.1}},
      {"mambavision-tiny", make(48, 32, {1, 2, 4, 2}, {1, 2, 4, 8}, at224, 0.1, false, 32), within_map, {}, {}},
      {"mambavision-toy", make(24, 16, {1, 1, 2, 2}, {1, 2, 4, 8}, at224, 0.0, false, 32), within_map, {}, {}},
  };
}

/// The window to use for an image: the nearest width to the preset's, from half to twice it, that cuts the tokens
/// without remainder, else the preset's own.
inline int64_t fitting_window(const AtlasConfig& c) {
  for (int64_t away = 0; away <= c.window; ++away)
    for (const int64_t window : {c.window - away, c.window + away})
      if (2 * window >= c.window && atlas_fits(c.tokens(), window, c.ratio)) return window;
  return c.window;
}

/// The image fixes the window and how many scales there are; one macro stage each shares `blocks`: all but the last get
/// `per_stage`.
template <int64_t blocks, int64_t per_stage>
void follow_image(AtlasConfig& c, const std::set<std::string>& given) {
  if (!given.contains("window")) c.window = fitting_window(c);
  if (given.contains("depths")) return;
  c.depths.clear();
  int64_t left = blocks;
  for (size_t n = atlas_scales(c.tokens(), c.window, c.ratio).size(); n > 1 && left > per_stage; --n, left -= per_stage)
    c.depths.push_back(per_stage);
  c.depths.push_back(left);
}

inline std::vector<Preset<AtlasConfig>> atlas_presets() {
  const auto published = [&](const char* name, int64_t dim, int64_t heads) {
    return Preset<AtlasConfig>{
        name, {.dim = dim, .num_heads = heads}, follow_image<12, 2>, {.crop = 1, .squash = true}, {}};
  };
  AtlasConfig tiny{.image = 32,
                   .dim = 128,
                   .num_heads = 4,
                   .window = 4,
                   .ratio = 2,
                   .drop_path_rate = 0.1,
                   .num_classes = 10,
                   .stem_dim = 32,
                   .patch = 4};
  AtlasConfig toy = tiny;
  toy.dim = 64;
  toy.num_heads = 2;
  toy.window = 2;
  toy.mlp_ratio = 2;
  toy.drop_path_rate = 0;
  toy.patch = 8;
  return {published("atlas-s", 384, 6), published("atlas-b", 768, 12), published("atlas-l", 1024, 16),
          Preset<AtlasConfig>{"atlas-tiny", tiny, follow_image<6, 2>, {}, {}},
          Preset<AtlasConfig>{"atlas-toy", toy, follow_image<2, 1>, {}, {}}};
}

}  // namespace atlas::inline ATLAS_ABI::models::detail
