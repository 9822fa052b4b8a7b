// The family of detectors that exists from the start: Cascade Mask R-CNN over MambaVision, with the published sizes.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "atlas/models/families-inl.h"
#include "atlas/models/heads/detect.h"

namespace atlas::inline ATLAS_ABI::models::detail {

/// @param all  the classifiers' presets
inline std::vector<Preset<CascadeConfig<MambaVisionConfig>>> cascade_mambavision_presets(
    const std::vector<Preset<MambaVisionConfig>>& all) {
  using Config = CascadeConfig<MambaVisionConfig>;
  std::vector<Preset<Config>> presets;
  const auto over = [&](const std::string& key, double drop, int64_t side) {
    Config c;
    c.backbone =
        std::find_if(all.begin(), all.end(), [&](const auto& p) { return p.name == "mambavision-" + key; })->config;
    // One window over the stride-16 map of a whole 800 x 1333 image.
    c.backbone.window_size = {8, 8, 112, 56};
    c.backbone.drop_path_rate = drop;
    c.backbone.resolution = side;
    return c;
  };
  const auto published = [&](const std::string& key, double drop) {
    presets.push_back({"cascade-mask-rcnn-mambavision-" + key, over(key, drop, 1333)});
  };
  published("t", 0.2);
  published("s", 0.3);
  published("b", 0.5);
  /// Small heads for small images of few objects.
  const auto small = [&](const std::string& key, int64_t side, int64_t channels, int64_t convs) {
    Config c = over(key, 0, side);
    c.channels = channels;
    c.fc = 4 * channels;
    c.shared_convs = convs;
    c.num_classes = 4;
    c.anchor_scale = 4;
    c.finest_scale = 28;
    c.rpn_samples = 128;
    c.roi_samples = 64;
    c.train_pre = c.test_pre = 200;
    c.train_post = c.test_post = 100;
    presets.push_back({"cascade-mask-rcnn-mambavision-" + key, c,
                       [](Config& config, const std::set<std::string>& given) { within_map(config.backbone, given); }});
  };
  small("tiny", 256, 64, 2);
  small("toy", 96, 32, 0);
  return presets;
}

}  // namespace atlas::inline ATLAS_ABI::models::detail
