// AtlasConfig: the configuration of AtlasNet, and the pyramid of scales that follows from it.
#pragma once

#include <string_view>
#include <vector>

#include "atlas/models/fields.h"

namespace atlas::inline ATLAS_ABI::models {

/// Configuration of AtlasNet; the defaults are Atlas-B at 1024 pixels. fields() says what they mean.
struct AtlasConfig {
  int64_t image = 1024;
  int64_t dim = 768;
  int64_t num_heads = 12;
  std::vector<int64_t> depths = {2, 10};
  int64_t window = 16;
  int64_t ratio = 4;
  double mlp_ratio = 4;
  double drop_path_rate = 0.3;
  int64_t num_classes = 100;
  int64_t stem_dim = 64;
  int64_t patch = 16;

  static constexpr std::string_view kFamily = "atlas", kTitle = "AtlasNet";
  int64_t& image_size() { return image; }
  int64_t image_size() const { return image; }
  /// Tokens along a side of `image` pixels.
  int64_t tokens() const { return (image + patch - 1) / patch; }

  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("image", c.image,
          "side of the images it is made for, in pixels; it fixes the number of scales, with patch, window and ratio",
          between(1, int64_t{1} << 30));
    visit("dim", c.dim, "channels of a token", length());
    visit("num_heads", c.num_heads, "attention heads", length());
    visit("depths", c.depths, "blocks per macro stage; after each but the last the finest scale is dropped", few());
    visit("window", c.window, "side of a window in tokens", length());
    visit("ratio", c.ratio, "ratio of the sides of neighboring scales", length(2));
    visit("mlp_ratio", c.mlp_ratio, "hidden features of a block's perceptron per channel", factor());
    visit("drop_path_rate", c.drop_path_rate, "of each macro stage's last block; its first has 0", within(0, 1));
    visit("num_classes", c.num_classes, "classes that the head tells apart", class_count());
    visit("stem_dim", c.stem_dim, "channels after the first convolution", length());
    visit("patch", c.patch, "the stem's stride: 16 as published, 8 or 4 for small images", one_of({4, 8, 16}));
  }
};

/// @throws Error naming the field that is out of range, or those that do not go together.
inline void validate(const AtlasConfig& c) {
  constexpr std::string_view op = AtlasConfig::kTitle;
  check_ranges(c, op);
  check(c.dim % c.num_heads == 0, op, "dim {} does not divide into {} heads", c.dim, c.num_heads);
  check(c.dim % (c.patch / 4) == 0, op,
        "dim {} must be a multiple of patch / 4 = {}: the stem starts with that share of it", c.dim, c.patch / 4);
  check(!c.depths.empty(), op, "depths is empty: there must be a macro stage");
}

/// One scale: grid x grid windows of side x side tokens.
struct AtlasScale {
  int64_t grid = 1, side = 1;
  bool operator==(const AtlasScale&) const = default;
};

/// The scales of a map of `tokens` x `tokens`, from fine to coarse.
///
/// Each is `ratio` times smaller than the one before. The last is at most `window` wide: one window, of its own size.
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
    // Up pass: the tokens of a coarser scale are divided among the windows of the finer one.
    // Down pass: so are its windows.
    if (s > 0 && here % scales[s - 1].grid != 0) return false;
    for (size_t t = s + 1; t < scales.size(); ++t)
      if (scales[s].grid % scales[t].grid != 0) return false;
  }
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::models
