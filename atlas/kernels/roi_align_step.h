// Where RoIAlign takes its samples along one axis: what both backends and the plain loops compute alike.
#pragma once

#include <cmath>
#include <cstdint>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// One axis of a region on a map: `bins` equal parts of it, each with n = ceil(length / bins) samples in the middles of
/// n equal parts. Computed in float64 whatever the map holds, since n jumps.
///
/// Position p lies on pixel p. A sample below -1 or above `size` counts as 0; one in [-1, 0] reads pixel 0, one past
/// the last pixel reads the last; others lie between two pixels. On a map without pixels there are no samples.
struct RoiAxis {
  double start = 0, length = 0, bins = 1, samples = 0;
  int64_t size = 0;

  RoiAxis() = default;
  /// @param low, high  of the region in pixels of the image   @param scale  pixels of the map per pixel of the image
  ATLAS_HOST_DEVICE RoiAxis(double low, double high, double scale, int64_t bin_count, int64_t pixels)
      : start(low * scale - 0.5),
        length((high - low) * scale),
        bins(static_cast<double>(bin_count)),
        samples(0),
        size(pixels) {
    if (pixels > 0 && length > 0 && length < 1e15 && start > -1e15 && start < 1e15) samples = std::ceil(length / bins);
  }

  ATLAS_HOST_DEVICE double position(int64_t bin, int64_t k) const {
    return start + (static_cast<double>(bin) + (static_cast<double>(k) + 0.5) / samples) * length / bins;
  }
  /// Calls f(low pixel, high pixel, part of the high pixel) for the samples of a bin that lie on the map, in order;
  /// each weighs 1 / samples. Samples outside are passed over, however many they are.
  template <class F>
  ATLAS_HOST_DEVICE void for_each_sample(int64_t bin, const F& f) const {
    if (!(samples > 0)) return;
    const double last = static_cast<double>(size - 1);
    // Samples k with -1 <= position(k) <= size, one more at both ends for rounding.
    const double step = length / bins / samples;
    const double origin = start + static_cast<double>(bin) * length / bins;
    const double from = std::floor((-1 - origin) / step - 0.5) - 1,
                 to = std::ceil((last + 1 - origin) / step - 0.5) + 1;
    if (!(to >= 0) || !(from < samples)) return;
    const auto begin = static_cast<int64_t>(from > 0 ? from : 0);
    const auto end = static_cast<int64_t>(to < samples - 1 ? to : samples - 1);
    for (int64_t k = begin; k <= end; ++k) {
      double p = position(bin, k);
      if (!(p >= -1 && p <= last + 1)) continue;
      p = p < 0 ? 0 : (p > last ? last : p);
      const auto low = static_cast<int64_t>(p);
      f(low, low + 1 < size ? low + 1 : size - 1, p - static_cast<double>(low));
    }
  }
  /// Whether samples of a bin may read the pixel. @return false when surely none does
  ATLAS_HOST_DEVICE bool may_touch(int64_t bin, int64_t pixel) const {
    if (!(samples > 0)) return false;
    const double from = start + static_cast<double>(bin) * length / bins, to = from + length / bins;
    const auto at = static_cast<double>(pixel);
    return to >= at - 1.001 && from <= at + 1.001;  // with slack for rounding
  }
  /// Part of the pixel in a bin's mean.
  ATLAS_HOST_DEVICE double weight(int64_t bin, int64_t pixel) const {
    if (!may_touch(bin, pixel)) return 0;
    double sum = 0;
    for_each_sample(bin, [&](int64_t low, int64_t high, double part) {
      if (low == pixel) sum += 1 - part;
      if (high == pixel) sum += part;
    });
    return sum / samples;
  }
};

}  // namespace atlas::inline ATLAS_ABI
