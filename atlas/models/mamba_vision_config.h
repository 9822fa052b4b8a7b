// MambaVisionConfig: the configuration of MambaVision.
#pragma once

#include <array>
#include <string_view>

#include "atlas/models/fields.h"

namespace atlas::inline ATLAS_ABI::models {

/// Configuration of MambaVision; the defaults are MambaVision-T. fields() says what they mean.
struct MambaVisionConfig {
  int64_t dim = 80;
  int64_t in_dim = 32;
  std::array<int64_t, 4> depths = {1, 3, 8, 4};
  std::array<int64_t, 4> num_heads = {2, 4, 8, 16};
  std::array<int64_t, 4> window_size = {8, 8, 14, 7};
  double mlp_ratio = 4;
  double drop_path_rate = 0.2;
  std::optional<double> layer_scale = {};
  int64_t num_classes = 1000;
  int64_t resolution = 224;
  int64_t d_state = 8;
  int64_t d_conv = 3;

  static constexpr std::string_view kFamily = "mambavision", kTitle = "MambaVision";
  int64_t& image_size() { return resolution; }
  int64_t image_size() const { return resolution; }

  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("dim", c.dim, "channels after the stem; stage i works on dim · 2^i", length());
    visit("in_dim", c.in_dim, "channels between the stem's two convolutions", length());
    visit("depths", c.depths, "blocks per stage; stages 0-1 are convolutional, 2-3 hybrid", few());
    visit("num_heads", c.num_heads, "attention heads; only stages 2-3 use them", any_value());
    visit("window_size", c.window_size, "sides of windows in tokens; only stages 2-3 use them", any_value());
    visit("mlp_ratio", c.mlp_ratio, "hidden features of a block's perceptron per channel", factor());
    visit("drop_path_rate", c.drop_path_rate, "of the last block; the first has 0", within(0, 1));
    visit("layer_scale", c.layer_scale, "initial gamma_1 and gamma_2 of the hybrid blocks, absent when not set",
          any_value());
    visit("num_classes", c.num_classes, "classes that the head tells apart", class_count());
    visit("resolution", c.resolution, "side of the images it was made for, in pixels; other sizes work",
          between(1, 1 << 30));
    visit("d_state", c.d_state, "states per channel of the mixer", length());
    visit("d_conv", c.d_conv, "length of the mixer's convolutions", length());
  }
};

/// @throws Error naming the field that is out of range, or those that do not go together.
inline void validate(const MambaVisionConfig& c) {
  constexpr std::string_view op = MambaVisionConfig::kTitle;
  check_ranges(c, op);
  for (size_t i = 2; i < 4; ++i) {
    const int64_t dim = c.dim << i;
    check(c.num_heads[i] >= 1 && dim % c.num_heads[i] == 0, op,
          "stage {} has {} channels, which do not divide into {} heads (change dim or num_heads)", i, dim,
          c.num_heads[i]);
    check(length().holds(static_cast<double>(c.window_size[i])), op, "window_size of stage {} must {}, got {}", i,
          length().str(), c.window_size[i]);
  }
}

}  // namespace atlas::inline ATLAS_ABI::models
