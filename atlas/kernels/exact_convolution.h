// A switch: how 3x3 convolutions are computed on the CPU.
#pragma once

#include <atomic>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
inline std::atomic<bool>& exact_convolution_flag() {
  static std::atomic<bool> exact{false};
  return exact;
}
}  // namespace detail

/// Whether 3x3 convolutions on the CPU are always plain sums. Default: no; Winograd's F(4x4) or F(6x6, 3x3) is used
/// where it is estimated to be faster, with relative errors of 3e-6 to 9e-6 instead of 2e-7. ATLAS_CPU_CONV=direct also
/// turns it off.
inline bool exact_convolution() { return detail::exact_convolution_flag(); }
inline void set_exact_convolution(bool exact) { detail::exact_convolution_flag() = exact; }

}  // namespace atlas::inline ATLAS_ABI
