// Transforms of samples whose targets have places: resizing within bounds, crops that see to the classes, photometric
// distortion, padding, and truth that stays as it is.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "atlas/data/transform.h"

namespace atlas::inline ATLAS_ABI::data {

/// Resizes, keeping proportions, to the largest size whose longer side is at most `longer` and whose shorter side is at
/// most `shorter`, both times a factor uniform in `ratio`.
struct ResizeWithin {
  int64_t longer, shorter;
  std::array<double, 2> ratio = {1, 1};
  Interpolation mode = Interpolation::bilinear;

  Geometry geometry(const Tensor& image, Rng& rng) const {
    const Tensor x = as_image(image, "ResizeWithin");
    check(longer >= 1 && shorter >= 1 && shorter <= longer && ratio[0] > 0 && ratio[0] <= ratio[1], "ResizeWithin",
          "needs 1 <= shorter <= longer and 0 < low <= high, got {}, {} and ratio {}..{}", shorter, longer, ratio[0],
          ratio[1]);
    const double r = ratio[0] < ratio[1] ? rng.uniform(ratio[0], ratio[1]) : ratio[0];
    const auto bound = [r](int64_t side) { return std::max(1.0, std::floor(static_cast<double>(side) * r)); };
    const auto h = static_cast<double>(x.size(0)), w = static_cast<double>(x.size(1));
    const double scale = std::min(bound(longer) / std::max(h, w), bound(shorter) / std::min(h, w));
    const auto scaled = [scale](double n) { return std::max<int64_t>(1, static_cast<int64_t>(n * scale + 0.5)); };
    check(scaled(h) * scaled(w) <= int64_t{1} << 27, "ResizeWithin", "{} would become {} x {} pixels: too large",
          describe(x), scaled(w), scaled(h));
    if (scaled(h) == x.size(0) && scaled(w) == x.size(1)) return {};
    return {Scale{scaled(h), scaled(w), mode}};
  }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

/// Cuts out at most height x width at a random place. Up to ten places are tried: the first counts where two or more
/// classes are and none fills more than `most` of the labeled pixels, else the last.
struct RandomClassCrop {
  int64_t height, width;
  double most = 0.75;  ///< 1: any place

  void apply(Sample& sample, Rng& rng) const;
  /// Without a mask: any place.
  Tensor operator()(const Tensor& image, Rng& rng) const {
    return Geometry(place(as_image(image, "RandomClassCrop"), rng)).image(image);
  }

 private:
  Crop place(const Tensor& image, Rng& rng) const {
    check(height >= 1 && width >= 1, "RandomClassCrop", "needs a size of 1 or more, got {} x {}", height, width);
    const int64_t h = std::min(height, image.size(0)), w = std::min(width, image.size(1));
    const int64_t top = rng.below(image.size(0) - h + 1);
    return {top, rng.below(image.size(1) - w + 1), h, w};
  }
};

/// Changes brightness, contrast, saturation and hue, each with probability 1/2; after each step values are cut off to
/// 0..255 and truncated to whole numbers (Liu et al., "SSD", ECCV 2016). With probability 1/2 contrast comes last.
/// uint8 [H,W,3]
struct PhotometricDistortion {
  static constexpr bool kPhotometric = true;
  double brightness = 32;                                                ///< largest offset
  std::array<double, 2> contrast = {0.5, 1.5}, saturation = {0.5, 1.5};  ///< factors
  double hue = 18;                                                       ///< largest turn, in steps of 2 degrees

  Tensor operator()(const Tensor& image, Rng& rng) const;
};

/// Borders of 0 at the right and the bottom up to height x width, for images that are smaller; masks get what they
/// ignore.
struct PadTo {
  int64_t height, width;
  Geometry geometry(const Tensor& image, Rng&) const {
    const int64_t h = std::max(height, image.size(0)), w = std::max(width, image.size(1));
    if (h == image.size(0) && w == image.size(1)) return {};
    return {Crop{0, 0, h, w}};
  }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

/// From here on masks, boxes and objects' masks stay as they are, whatever becomes of the image (Target::fixed): tests
/// measure at the size of the file. Beside boxes it stands in kOriginalHeight and kOriginalWidth.
struct KeepTruth {
  ATLAS_INLINE void apply(Sample& sample, Rng&) const;
  Tensor operator()(const Tensor& image, Rng&) const { return image; }
};

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/dense_augment-inl.h"
#endif
