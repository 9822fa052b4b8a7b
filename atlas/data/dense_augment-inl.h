// Bodies of dense_augment.h.
#pragma once

#include <map>

#include "atlas/data/dense_augment.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// True when two classes or more are in a part of a mask, and none fills more than `most` of its labeled pixels.
inline bool is_mixed(const Tensor& mask, const Crop& part, int64_t ignored, double most) {
  std::map<int64_t, int64_t> counts;
  const int64_t width = mask.size(1);
  int64_t labeled = 0;
  for (int64_t row = part.top; row < part.top + part.height; ++row) {
    int64_t run = 0, last = -1;  // long runs of one class are counted at once
    for (int64_t column = part.left; column < part.left + part.width; ++column) {
      const int64_t at = row * width + column;
      const int64_t c = mask.dtype() == uint8 ? mask.data<uint8_t>()[at] : mask.data<int64_t>()[at];
      if (c != last) {
        if (run > 0 && last != ignored) counts[last] += run, labeled += run;
        last = c, run = 0;
      }
      ++run;
    }
    if (run > 0 && last != ignored) counts[last] += run, labeled += run;
  }
  int64_t largest = 0;
  for (const auto& [c, n] : counts) largest = std::max(largest, n);
  return counts.size() > 1 && static_cast<double>(largest) < most * static_cast<double>(labeled);
}

/// RGB to hue (0..179), saturation and value (0..255) with 8 bits each, rounded, and back, truncated: so OpenCV's
/// vector code has it, which the published training runs through.
inline std::array<int, 3> to_hsv(const uint8_t* rgb) {
  const int r = rgb[0], g = rgb[1], b = rgb[2], value = std::max({r, g, b}), span = value - std::min({r, g, b});
  if (span == 0) return {0, 0, value};
  const auto d = static_cast<double>(span);
  double hue = value == r ? 60.0 * (g - b) / d : value == g ? 120 + 60.0 * (b - r) / d : 240 + 60.0 * (r - g) / d;
  if (hue < 0) hue += 360;
  const int half = static_cast<int>(std::lround(hue / 2));
  return {half == 180 ? 0 : half, static_cast<int>(std::lround(255.0 * d / value)), value};
}
inline void from_hsv(const std::array<int, 3>& hsv, uint8_t* rgb) {
  // v (1 - s part), part from 0 to 1 in thirtieths: up over a sixth of the circle, 1 over two sixths, down, 0.
  const auto channel = [&](int shift) {
    const int at = (shift + hsv[0]) % 180, part = std::clamp(std::min(at, 120 - at), 0, 30);
    return static_cast<uint8_t>(hsv[2] * (255 * 30 - hsv[1] * part) / (255 * 30));
  };
  rgb[0] = channel(150), rgb[1] = channel(90), rgb[2] = channel(30);
}

}  // namespace detail

ATLAS_INLINE void RandomClassCrop::apply(Sample& sample, Rng& rng) const {
  const Tensor image = as_image(sample.image, "RandomClassCrop");
  const Target* mask = sample.targets.find(kMask);
  Crop best = place(image, rng);
  if (mask != nullptr && most < 1) {
    const Tensor values = mask->value.is_contiguous() ? mask->value : copy_of(mask->value);
    for (int attempt = 1; attempt < 10 && !detail::is_mixed(values, best, mask->outside, most); ++attempt)
      best = place(image, rng);
  }
  Geometry(best).apply(sample);
}

ATLAS_INLINE Tensor PhotometricDistortion::operator()(const Tensor& image, Rng& rng) const {
  const Tensor x = as_image(image, "PhotometricDistortion");
  check(x.dtype() == uint8 && x.size(2) == 3, "PhotometricDistortion",
        "needs a uint8 image [H,W,3] (it comes before Normalize), got {}", describe(x));
  check(brightness >= 0 && hue >= 0 && contrast[0] >= 0 && contrast[0] <= contrast[1] && saturation[0] >= 0 &&
            saturation[0] <= saturation[1],
        "PhotometricDistortion", "needs 0 <= low <= high, got contrast {}..{} and saturation {}..{}", contrast[0],
        contrast[1], saturation[0], saturation[1]);
  Tensor y = copy_of(x);
  uint8_t* p = y.data<uint8_t>();
  const auto each_value = [&](double factor, double offset) {
    std::array<uint8_t, 256> table{};
    for (size_t v = 0; v < 256; ++v)
      table[v] = static_cast<uint8_t>(std::clamp(static_cast<double>(v) * factor + offset, 0.0, 255.0));
    for (int64_t i = 0; i < y.numel(); ++i) p[i] = table[p[i]];
  };
  if (rng.chance(0.5)) each_value(1, rng.uniform(-brightness, brightness));
  const bool contrast_first = rng.chance(0.5);
  const auto change_contrast = [&] {
    if (rng.chance(0.5)) each_value(rng.uniform(contrast[0], contrast[1]), 0);
  };
  if (contrast_first) change_contrast();
  // Two steps: between them pixels are RGB of 8 bits again, as in the published training.
  const auto each_hsv = [&](const auto& change) {
    for (int64_t i = 0; i < y.numel(); i += 3) {
      std::array<int, 3> hsv = detail::to_hsv(p + i);
      change(hsv);
      detail::from_hsv(hsv, p + i);
    }
  };
  if (rng.chance(0.5)) {
    const double factor = rng.uniform(saturation[0], saturation[1]);
    each_hsv([&](auto& hsv) { hsv[1] = static_cast<int>(std::clamp(hsv[1] * factor, 0.0, 255.0)); });
  }
  if (rng.chance(0.5)) {
    const int turn = static_cast<int>(std::floor(rng.uniform(-hue, hue + 1)));
    each_hsv([&](auto& hsv) { hsv[0] = ((hsv[0] + turn) % 180 + 180) % 180; });
  }
  if (!contrast_first) change_contrast();
  return y;
}

ATLAS_INLINE void KeepTruth::apply(Sample& sample, Rng&) const {
  bool boxes = false;
  for (auto& [key, target] : sample.targets) {
    boxes = boxes || target.kind == TargetKind::boxes;
    if (target.has_places()) target.fixed = true;
  }
  if (!boxes || !sample.image.defined()) return;
  for (const auto& [name, axis] : {std::pair{kOriginalHeight, 0}, {kOriginalWidth, 1}}) {
    Tensor size = empty({}, int64, Device{});
    *size.data<int64_t>() = sample.image.size(axis);
    sample.targets.set(name, {TargetKind::number, size});
  }
}

}  // namespace atlas::inline ATLAS_ABI::data
