// Bodies of presets.h: the table of names, and configurations from JSON.
#pragma once

#include "atlas/io/json_fields.h"
#include "atlas/models/presets.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

inline void merge(MambaVisionConfig& c, const std::string& text) {
  io::JsonFields fields(text, "MambaVision");
  fields.read("dim", c.dim);
  fields.read("in_dim", c.in_dim);
  fields.read("depths", c.depths);
  fields.read("num_heads", c.num_heads);
  fields.read("window_size", c.window_size);
  fields.read("mlp_ratio", c.mlp_ratio);
  fields.read("drop_path_rate", c.drop_path_rate);
  fields.read("layer_scale", c.layer_scale);
  fields.read("num_classes", c.num_classes);
  fields.read("resolution", c.resolution);
  fields.read("d_state", c.d_state);
  fields.read("d_conv", c.d_conv);
  fields.finish();
}

inline void merge(AtlasConfig& c, const std::string& text) {
  io::JsonFields fields(text, "AtlasNet");
  fields.read("image", c.image);
  fields.read("dim", c.dim);
  fields.read("num_heads", c.num_heads);
  fields.read("depths", c.depths);
  fields.read("window", c.window);
  fields.read("ratio", c.ratio);
  fields.read("mlp_ratio", c.mlp_ratio);
  fields.read("drop_path_rate", c.drop_path_rate);
  fields.read("num_classes", c.num_classes);
  fields.read("stem_dim", c.stem_dim);
  fields.read("patch", c.patch);
  fields.finish();
}

struct MambaVisionPreset {
  const char* name;
  MambaVisionConfig config;
  bool small = false;  // windows follow the image
};

inline const std::vector<MambaVisionPreset>& mambavision_presets() {
  using Four = std::array<int64_t, 4>;
  const auto make = [](int64_t dim, int64_t in_dim, Four depths, Four heads, Four windows, double drop, bool scale,
                       int64_t side) {
    MambaVisionConfig c{.dim = dim, .in_dim = in_dim, .depths = depths, .num_heads = heads, .window_size = windows};
    c.drop_path_rate = drop;
    if (scale) c.layer_scale = 1e-5;
    c.resolution = side;
    return c;
  };
  constexpr Four few{2, 4, 8, 16}, many{4, 8, 16, 32}, at224{8, 8, 14, 7}, at256{8, 8, 16, 8}, at512{8, 8, 32, 16};
  static const std::vector<MambaVisionPreset> presets = [&] {
    std::vector<MambaVisionPreset> p{
        {"mambavision-t", make(80, 32, {1, 3, 8, 4}, few, at224, 0.2, false, 224)},
        {"mambavision-t2", make(80, 32, {1, 3, 11, 4}, few, at224, 0.2, false, 224)},
        {"mambavision-s", make(96, 64, {3, 3, 7, 5}, few, at224, 0.2, false, 224)},
        {"mambavision-b", make(128, 64, {3, 3, 10, 5}, few, at224, 0.3, true, 224)},
        {"mambavision-l", make(196, 64, {3, 3, 10, 5}, many, at224, 0.3, true, 224)},
        {"mambavision-l2", make(196, 64, {3, 3, 12, 5}, many, at224, 0.3, true, 224)},
        {"mambavision-l2-512", make(196, 64, {3, 3, 12, 5}, many, at512, 0.3, true, 512)},
        {"mambavision-l3-256", make(256, 64, {3, 3, 20, 10}, many, at256, 0.5, true, 256)},
        {"mambavision-l3-512", make(256, 64, {3, 3, 20, 10}, many, at512, 0.5, true, 512)},
        {"mambavision-tiny", make(48, 32, {1, 2, 4, 2}, {1, 2, 4, 8}, {8, 8, 14, 7}, 0.1, false, 32), true},
        {"mambavision-toy", make(24, 16, {1, 1, 2, 2}, {1, 2, 4, 8}, {8, 8, 14, 7}, 0.0, false, 32), true},
    };
    for (auto& preset : p)
      if (preset.small) preset.config.num_classes = 10;
    return p;
  }();
  return presets;
}

struct AtlasPreset {
  const char* name;
  AtlasConfig config;
  int64_t blocks = 12;    // over all macro stages
  int64_t per_stage = 2;  // in every macro stage but the last
};

inline const std::vector<AtlasPreset>& atlas_presets() {
  const auto published = [](int64_t dim, int64_t heads) { return AtlasConfig{.dim = dim, .num_heads = heads}; };
  static const std::vector<AtlasPreset> presets{
      {"atlas-s", published(384, 6)},
      {"atlas-b", published(768, 12)},
      {"atlas-l", published(1024, 16)},
      {"atlas-tiny",
       {.image = 32,
        .dim = 128,
        .num_heads = 4,
        .depths = {},
        .window = 4,
        .ratio = 2,
        .drop_path_rate = 0.1,
        .num_classes = 10,
        .stem_dim = 32,
        .patch = 4},
       6,
       2},
      {"atlas-toy",
       {.image = 32,
        .dim = 64,
        .num_heads = 2,
        .depths = {},
        .window = 2,
        .ratio = 2,
        .mlp_ratio = 2,
        .drop_path_rate = 0,
        .num_classes = 10,
        .stem_dim = 32,
        .patch = 8},
       2,
       1},
  };
  return presets;
}

/// The window to use for an image: the nearest width to the preset's, from half to twice it, that cuts the tokens
/// without remainder, else the preset's own.
inline int64_t fitting_window(const AtlasConfig& c) {
  for (int64_t away = 0; away <= c.window; ++away)
    for (const int64_t window : {c.window - away, c.window + away})
      if (2 * window >= c.window && atlas_fits(c.tokens(), window, c.ratio)) return window;
  return c.window;
}

inline std::string known_names() {
  std::string all;
  for (const std::string& n : preset_names()) all += (all.empty() ? "" : ", ") + n;
  return all;
}

}  // namespace detail

ATLAS_INLINE const std::vector<std::string>& preset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& p : detail::atlas_presets()) all.emplace_back(p.name);
    for (const auto& p : detail::mambavision_presets()) all.emplace_back(p.name);
    return all;
  }();
  return names;
}

ATLAS_INLINE std::unique_ptr<Classifier> make_model(const std::string& name, const ModelOptions& options) {
  check(options.image_size >= 0 && options.num_classes >= 0, "make_model",
        "image_size and num_classes must not be negative, got {} and {}", options.image_size, options.num_classes);
  const std::string overrides = options.overrides.empty() ? "{}" : options.overrides;
  for (const auto& preset : detail::mambavision_presets()) {
    if (name != preset.name) continue;
    MambaVisionConfig c = preset.config;
    if (options.image_size > 0) c.resolution = options.image_size;
    if (options.num_classes > 0) c.num_classes = options.num_classes;
    if (preset.small)  // a window larger than the map would hold padding alone
      for (size_t i = 2; i < 4; ++i) {
        const int64_t stride = int64_t{4} << i;
        c.window_size[i] = std::min(c.window_size[i], (c.resolution + stride - 1) / stride);
      }
    detail::merge(c, overrides);
    return std::make_unique<MambaVision>(c);
  }
  for (const auto& preset : detail::atlas_presets()) {
    if (name != preset.name) continue;
    AtlasConfig c = preset.config;
    if (options.image_size > 0) c.image = options.image_size;
    if (options.num_classes > 0) c.num_classes = options.num_classes;
    // Patch, window and ratio decide how many scales there are, and that the default depths.
    c.depths = {preset.blocks};
    AtlasConfig wanted = c;
    detail::merge(wanted, overrides);
    c.image = wanted.image;
    c.patch = wanted.patch;
    c.window = wanted.window;
    c.ratio = wanted.ratio;
    if (c.patch > 0 && c.window > 0 && c.ratio > 1 && c.image > 0) {
      AtlasConfig probe = c;
      probe.window = 0;
      detail::merge(probe, overrides);
      if (probe.window == 0) c.window = detail::fitting_window(c);  // else it was chosen
      c.depths.clear();
      int64_t blocks = preset.blocks;
      for (size_t n = atlas_scales(c.tokens(), c.window, c.ratio).size(); n > 1 && blocks > preset.per_stage;
           --n, blocks -= preset.per_stage)
        c.depths.push_back(preset.per_stage);
      c.depths.push_back(blocks);
    }
    detail::merge(c, overrides);
    return std::make_unique<AtlasNet>(c);
  }
  fail("make_model", "there is no preset '{}'; there are {}", name, detail::known_names());
}

ATLAS_INLINE std::unique_ptr<Classifier> make_model_from_config(const std::string& family, const std::string& config) {
  if (family == "atlas") {
    AtlasConfig c;
    detail::merge(c, config);
    return std::make_unique<AtlasNet>(c);
  }
  check(family == "mambavision", "make_model", "'{}' is no family of models; there are atlas and mambavision", family);
  MambaVisionConfig c;
  detail::merge(c, config);
  return std::make_unique<MambaVision>(c);
}

}  // namespace atlas::inline ATLAS_ABI::models
