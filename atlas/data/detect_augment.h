// Resizing as detectors are trained: bounds for both sides that are drawn for every image, some through a crop.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "atlas/data/transform.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {
/// The size of an h x w image whose shorter side is at most `shorter` and longer at most `longer`, one of them exactly.
inline Scale scaled_within(int64_t h, int64_t w, int64_t shorter, int64_t longer) {
  const auto low = static_cast<double>(std::min(h, w)), high = static_cast<double>(std::max(h, w));
  const double factor = std::min(static_cast<double>(shorter) / low, static_cast<double>(longer) / high);
  const auto side = [&](int64_t n) {
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(n) * factor + 0.5));
  };
  return {side(h), side(w)};
}
}  // namespace detail

/// Resizes so that the shorter side is one of `shorter`, by chance, unless the longer one would pass `longer`.
struct ResizeShortLong {
  /// Of a result: a detector takes hundreds of bytes for each.
  static constexpr int64_t kMostPixels = int64_t{1} << 25;
  std::vector<int64_t> shorter;  ///< at least one
  int64_t longer = 1333;
  Geometry geometry(const Tensor& image, Rng& rng) const {
    const Tensor x = as_image(image, "ResizeShortLong");
    check(!shorter.empty(), "ResizeShortLong", "needs at least one length");
    const int64_t side = shorter[static_cast<size_t>(rng.below(std::ssize(shorter)))];
    const Scale to = detail::scaled_within(x.size(0), x.size(1), side, longer);
    check(to.height <= kMostPixels / to.width, "ResizeShortLong",
          "{} x {} pixels would become {} x {}, more than the {} that are allowed: ask for shorter sides", x.size(1),
          x.size(0), to.width, to.height, kMostPixels);
    return {to};
  }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

/// One of two with equal chance: ResizeShortLong{last}; or the shorter side one of `first`, a crop of random sides
/// within [crop_low, crop_high], both ends cut to what the image has, at a random place, then ResizeShortLong{last}.
struct ResizeCropResize {
  std::vector<int64_t> first, last;
  int64_t crop_low = 384, crop_high = 600, longer = 1333;
  Geometry geometry(const Tensor& image, Rng& rng) const {
    const Tensor x = as_image(image, "ResizeCropResize");
    const ResizeShortLong end{last, longer};
    if (rng.chance(0.5)) return end.geometry(image, rng);
    const int64_t side = first[static_cast<size_t>(rng.below(std::ssize(first)))];
    const Scale one = detail::scaled_within(x.size(0), x.size(1), side, int64_t{1} << 30);
    const auto part = [&](int64_t n) {
      const int64_t low = std::min(n, crop_low), high = std::min(n, crop_high);
      return low + rng.below(high - low + 1);
    };
    const int64_t height = part(one.height), width = part(one.width);
    const Crop cut{rng.below(one.height - height + 1), rng.below(one.width - width + 1), height, width};
    const int64_t to = last[static_cast<size_t>(rng.below(std::ssize(last)))];
    return Geometry(std::vector<Geometry::Move>{one, cut, detail::scaled_within(height, width, to, longer)});
  }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

}  // namespace atlas::inline ATLAS_ABI::data
