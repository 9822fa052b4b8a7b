// AtlasConfig: the configuration of AtlasNet, and the pyramid of scales that follows from it.
#pragma once

#include <fmt/core.h>

#include <string>
#include <vector>

#include "atlas/models/classifier.h"

namespace atlas::inline ATLAS_ABI::models {

/// Configuration of AtlasNet; the defaults are Atlas-B at 1024 pixels.
struct AtlasConfig {
  int64_t image =
      1024;  ///< side of the images it is made for: with patch, window and ratio, it fixes the number of scales
  int64_t dim = 768;       ///< token channels
  int64_t num_heads = 12;  ///< attention heads
  std::vector<int64_t> depths = {2,
                                 10};  ///< blocks per macro stage; after each but the last the finest scale is dropped
  int64_t window = 16;                 ///< side of a window, in tokens
  int64_t ratio = 4;                   ///< side ratio between neighbouring scales
  double mlp_ratio = 4;
  double drop_path_rate = 0.3;  ///< of each macro stage's last block; its first has 0
  int64_t num_classes = 100;
  int64_t stem_dim = 64;  ///< channels after the first convolution
  int64_t patch = 16;     ///< the stem's stride: 16 as published, 8 or 4 for small images

  /// Tokens along a side of `image` pixels.
  int64_t tokens() const { return (image + patch - 1) / patch; }
};

/// One scale: grid x grid windows of side x side tokens.
struct AtlasScale {
  int64_t grid = 1, side = 1;
  bool operator==(const AtlasScale&) const = default;
};

/// The scales of a map of `tokens` x `tokens`, fine to coarse: each is `ratio` times smaller than the one before, until
/// the map is one window. A scale that is at most `window` wide is one window of its own size.
inline std::vector<AtlasScale> atlas_scales(int64_t tokens, int64_t window, int64_t ratio) {
  std::vector<AtlasScale> scales;
  // The count is the smallest n >= 1 with tokens <= window · ratio^(n-1), with exact integers.
  int64_t shrink = 1;
  for (;;) {
    const int64_t here = tokens / shrink;
    scales.push_back(here > window ? AtlasScale{here / window, window} : AtlasScale{1, here});
    if (tokens <= window * shrink) return scales;
    shrink *= ratio;
  }
}

/// Whether the published rule cuts a map of `tokens` x `tokens` into windows without remainder.
inline bool atlas_fits(int64_t tokens, int64_t window, int64_t ratio) {
  if (tokens < 1) return false;
  const std::vector<AtlasScale> scales = atlas_scales(tokens, window, ratio);
  int64_t here = tokens;
  for (size_t s = 0; s < scales.size(); ++s, here /= ratio) {
    if (here < 1 || here != scales[s].grid * scales[s].side) return false;
    // A coarser scale's tokens are shared out to the windows of the finer one (up pass), its windows too (down pass).
    if (s > 0 && here % scales[s - 1].grid != 0) return false;
    for (size_t t = s + 1; t < scales.size(); ++t)
      if (scales[s].grid % scales[t].grid != 0) return false;
  }
  return true;
}

/// @throws Error naming the field that is out of range,
inline void validate(const AtlasConfig& c) {
  constexpr const char* op = "AtlasNet";
  check(c.patch == 4 || c.patch == 8 || c.patch == 16, op, "patch must be 4, 8 or 16, got {}", c.patch);
  check(c.window >= 1 && c.ratio >= 2, op, "window must be at least 1 and ratio at least 2, got {} and {}", c.window,
        c.ratio);
  check(c.dim >= 1 && c.stem_dim >= 1 && c.num_classes >= 1, op,
        "dim, stem_dim and num_classes must be at least 1, got {}, {} and {}", c.dim, c.stem_dim, c.num_classes);
  check(c.num_heads >= 1 && c.dim % c.num_heads == 0, op, "dim {} does not divide into {} heads", c.dim, c.num_heads);
  check(c.dim % (c.patch / 4) == 0, op,
        "dim {} must be a multiple of patch / 4 = {}: the stem starts with that share of it", c.dim, c.patch / 4);
  check(c.mlp_ratio > 0, op, "mlp_ratio must be positive, got {}", c.mlp_ratio);
  check(c.drop_path_rate >= 0 && c.drop_path_rate < 1, op, "drop_path_rate must be in [0, 1), got {}",
        c.drop_path_rate);
  check(!c.depths.empty(), op, "depths is empty: there must be a macro stage");
  for (const int64_t d : c.depths)
    check(d >= 0, op, "depths must not be negative, got {}", detail::json_list(c.depths));
  check(c.image >= 1 && c.image <= int64_t{1} << 30, op, "image must be a side in pixels, got {}", c.image);
}

/// The configuration as a JSON object.
inline std::string to_json(const AtlasConfig& c) {
  return fmt::format(
      R"({{"image": {}, "dim": {}, "num_heads": {}, "depths": {}, "window": {}, "ratio": {}, "mlp_ratio": {}, )"
      R"("drop_path_rate": {}, "num_classes": {}, "stem_dim": {}, "patch": {}}})",
      c.image, c.dim, c.num_heads, detail::json_list(c.depths), c.window, c.ratio, c.mlp_ratio, c.drop_path_rate,
      c.num_classes, c.stem_dim, c.patch);
}

}  // namespace atlas::inline ATLAS_ABI::models
