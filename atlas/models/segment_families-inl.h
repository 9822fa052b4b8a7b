// The families of segmenters that exist from the start: UPerNet over both backbones, with the published sizes.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "atlas/models/families-inl.h"
#include "atlas/models/heads/segment.h"

namespace atlas::inline ATLAS_ABI::models::detail {

/// A small decoder for small images.
template <class B>
UPerNetConfig<B> small_upernet(const B& backbone, int64_t side, int64_t channels) {
  UPerNetConfig<B> c{.backbone = backbone, .channels = channels, .aux_channels = channels / 2};
  c.backbone.image_size() = side;
  c.dropout = 0;
  return c;
}

/// @param all  the classifiers' presets
inline std::vector<Preset<UPerNetConfig<MambaVisionConfig>>> upernet_mambavision_presets(
    const std::vector<Preset<MambaVisionConfig>>& all) {
  using Config = UPerNetConfig<MambaVisionConfig>;
  std::vector<Preset<Config>> presets;
  const auto of = [&](std::string_view name) {
    return std::find_if(all.begin(), all.end(), [&](const auto& p) { return p.name == name; })->config;
  };
  // The authors' windows and drop-path rates; L3 is trained on crops of 640.
  const auto published = [&](const std::string& key, int64_t middle, int64_t coarse, double drop, int64_t side) {
    Config c{.backbone = of("mambavision-" + key)};
    c.backbone.window_size = {8, 8, middle, coarse};
    c.backbone.drop_path_rate = drop;
    c.backbone.resolution = side;
    presets.push_back({"upernet-mambavision-" + key, c});
  };
  published("t", 64, 32, 0.3, 512);
  published("s", 160, 56, 0.7, 512);
  published("b", 64, 32, 0.4, 512);
  published("l3-512", 64, 32, 0.8, 640);
  const auto small = [&](const std::string& key, int64_t side, int64_t channels) {
    Config c = small_upernet(of("mambavision-" + key), side, channels);
    c.backbone.window_size = {8, 8, 64, 32};
    presets.push_back({"upernet-mambavision-" + key, c,
                       [](Config& config, const std::set<std::string>& given) { within_map(config.backbone, given); }});
  };
  small("tiny", 256, 64);
  small("toy", 64, 32);
  return presets;
}

/// The backbone follows the image size; the auxiliary head stays on the map of stride 16, or the coarsest.
template <int64_t blocks, int64_t per_stage>
void follow_image_size(UPerNetConfig<AtlasConfig>& c, const std::set<std::string>& given) {
  follow_image<blocks, per_stage>(c.backbone, given);
  if (given.contains("aux_index")) return;
  int64_t finer = 0;  // maps of the stem
  for (int64_t stride = 4; stride < c.backbone.patch; stride *= 2) ++finer;
  const auto scales = std::ssize(atlas_scales(c.backbone.tokens(), c.backbone.window, c.backbone.ratio));
  c.aux_index = std::min<int64_t>(2, finer + scales - 1);
}

/// @param all  the classifiers' presets
inline std::vector<Preset<UPerNetConfig<AtlasConfig>>> upernet_atlas_presets(
    const std::vector<Preset<AtlasConfig>>& all) {
  using Config = UPerNetConfig<AtlasConfig>;
  std::vector<Preset<Config>> presets;
  for (const auto& [name, config, adapt, evaluation, size] : all) {
    const std::string own = "upernet-" + name;
    if (name == "atlas-tiny") {
      presets.push_back({own, small_upernet(config, 256, 64), follow_image_size<6, 2>});
    } else if (name == "atlas-toy") {
      presets.push_back({own, small_upernet(config, 64, 32), follow_image_size<2, 1>});
    } else {
      Config c{.backbone = config};
      c.backbone.image = 512;
      presets.push_back({own, c, follow_image_size<12, 2>});
    }
  }
  return presets;
}

}  // namespace atlas::inline ATLAS_ABI::models::detail
