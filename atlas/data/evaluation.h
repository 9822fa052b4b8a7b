// The preprocessing under which published accuracies were measured: resize, center crop, normalize.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "atlas/autograd/node.h"
#include "atlas/data/transform.h"
#include "atlas/ops/resize.h"

namespace atlas::inline ATLAS_ABI::data {

/// How a picture of any size becomes what a model is evaluated on.
struct EvaluationSettings {
  int64_t height = 224, width = 224;  ///< of the result; 0 keeps every picture as it is
  double crop = 1;                    ///< side of the crop / side of the resized picture, in (0, 1]
  bool squash = false;                ///< resize both sides alike, which changes proportions, instead of the shorter
  Normalize normalize = {};
};

/// Longest side that pictures are resized to for a model, in pixels.
inline constexpr int64_t kMostSide = 16384;
/// Smallest share of the resized picture's side that a center crop may keep: less cannot be meant, and takes for ever.
inline constexpr double kLeastCrop = 0.1;

/// Checks that a picture may be resized. @throws Error in words for people when the result would be huge.
inline void check_resized(int64_t height, int64_t width, int64_t to_height, int64_t to_width) {
  check(to_height <= 4 * kMostSide && to_width <= 4 * kMostSide && to_height * to_width <= int64_t{1} << 26, "image",
        "a picture of {} x {} pixels would be resized to {} x {}: {} (choose another image size or crop)", width,
        height, to_width, to_height,
        std::max(height, width) > 16 * std::min(height, width) ? "it is too long and thin" : "that is too large");
}

namespace detail {

/// round(n / 2), halves to even: where Python's imaging programs put a crop.
inline int64_t half_to_even(int64_t n) { return n / 2 + (n % 4 == 3 ? 1 : 0); }

/// Height and width to which a picture is resized before the crop.
inline std::array<int64_t, 2> size_before_crop(int64_t height, int64_t width, const EvaluationSettings& s) {
  const auto scaled = [&](int64_t side) {
    return static_cast<int64_t>(std::floor(static_cast<double>(side) / s.crop));
  };
  const int64_t to_height = scaled(s.height), to_width = scaled(s.width);
  if (s.squash) return {to_height, to_width};
  if (to_height == to_width) {  // the longer side is cut to whole pixels
    if (height <= width) return {to_height, std::max(to_width, to_height * width / height)};
    return {std::max(to_height, to_width * height / width), to_width};
  }
  // For a crop that is not square, the smallest picture that covers it.
  const double ratio = std::min(static_cast<double>(height) / static_cast<double>(to_height),
                                static_cast<double>(width) / static_cast<double>(to_width));
  return {std::max(to_height, static_cast<int64_t>(std::llround(static_cast<double>(height) / ratio))),
          std::max(to_width, static_cast<int64_t>(std::llround(static_cast<double>(width) / ratio)))};
}

/// Resizes to size_before_crop() and cuts out the middle.
struct EvaluationFit {
  EvaluationSettings s;
  Geometry geometry(const Tensor& image, Rng& rng) const {
    const Tensor x = as_image(image, "evaluation_transform");
    return geometry(x.size(0), x.size(1), rng);
  }
  Geometry geometry(int64_t h, int64_t w, Rng&) const {
    const auto [height, width] = size_before_crop(h, w, s);
    check_resized(h, w, height, width);
    return {{Scale{height, width, Interpolation::bicubic, true},
             Crop{half_to_even(height - s.height), half_to_even(width - s.width), s.height, s.width}}};
  }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

}  // namespace detail

/// The published evaluation transform: bicubic resize (antialiased, a = -0.5) so that the shorter side (with `squash`:
/// both) becomes floor(size / crop), the middle height x width of that, and (x / 255 - mean) / std.
///
/// Sizes, rounding and the place of the crop follow torchvision's and timm's transforms on 8-bit pictures, which round
/// to whole gray levels after the resize.   uint8 [H,W,3] -> float32 [height,width,3]
/// @throws Error when a setting is out of range.
inline Transform evaluation_transform(const EvaluationSettings& s) {
  constexpr int64_t kMost = kMostSide;
  check(s.height >= 0 && s.width >= 0 && s.height <= kMost && s.width <= kMost && (s.height == 0) == (s.width == 0),
        "evaluation_transform", "needs sides of 1 to {} pixels, or 0 x 0 to keep sizes, got {} x {}", kMost, s.height,
        s.width);
  check(s.crop >= kLeastCrop && s.crop <= 1, "evaluation_transform", "crop must lie in [{}, 1], got {}", kLeastCrop,
        s.crop);
  if (s.height == 0) return s.normalize;
  return Compose{{detail::EvaluationFit{s}, s.normalize}};
}

}  // namespace atlas::inline ATLAS_ABI::data
