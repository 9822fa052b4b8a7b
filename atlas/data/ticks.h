// Where the axes of charts have their numbers.
// Not in atlas.h: include it by name.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::data {

/// Ticks of an axis at round numbers: steps of 1, 2 or 5 times a power of ten.
struct Ticks {
  double low, high, step;

  /// @param about  how many steps there should be   @param widen  the axis ends at ticks, instead of at the values
  Ticks(double from, double to, int about, bool widen) {
    if (!(to > from)) {
      const double room = from != 0 ? std::abs(from) * 0.1 : 1.0;
      from -= room;
      to += room;
    }
    const double raw = (to - from) / about, power = std::pow(10.0, std::floor(std::log10(raw))), digit = raw / power;
    step = power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
    low = widen ? std::floor(from / step + 1e-9) * step : from;
    high = widen ? std::ceil(to / step - 1e-9) * step : to;
  }
  std::vector<double> values() const {
    std::vector<double> v;
    for (int64_t i = std::llround(std::ceil(low / step - 1e-6)); static_cast<double>(i) * step <= high + step * 1e-6;
         ++i)
      v.push_back(static_cast<double>(i) * step);
    return v;
  }
  std::string label(double v) const {
    if (std::abs(v) < step * 1e-6) v = 0;  // never "-0"
    if (std::abs(v) >= 1e6 || (v != 0 && std::abs(v) < 1e-4)) return fmt::format("{:.3g}", v);
    const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 6);
    return fmt::format("{:.{}f}", v, digits);
  }
};

}  // namespace atlas::inline ATLAS_ABI::data
