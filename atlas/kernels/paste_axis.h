// How a mask's axis is stretched over a box.
#pragma once

#include <cstdint>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// Part of entry k of a mask's axis in a pixel of the image: 1 - |p - k|, at least 0, where p is the pixel's center on
/// the axis. No part where the box is empty.
struct PasteAxis {
  double low = 0, length = 0, size = 0;
  ATLAS_HOST_DEVICE double position(int64_t pixel) const {
    return (static_cast<double>(pixel) + 0.5 - low) / length * size - 0.5;
  }
  /// Calls f(entry, part) for the entries, at most two, that the pixel has a part of.
  template <class F>
  ATLAS_HOST_DEVICE void for_each(int64_t pixel, const F& f) const {
    if (length == 0) return;
    const double p = position(pixel);
    if (!(p > -1 && p < size)) return;
    const auto lower = static_cast<int64_t>(p + 1) - 1;  // floor, p > -1
    const double part = p - static_cast<double>(lower);
    if (lower >= 0 && part < 1) f(lower, 1 - part);
    if (lower + 1 < static_cast<int64_t>(size) && part > 0) f(lower + 1, part);
  }
};

}  // namespace atlas::inline ATLAS_ABI
