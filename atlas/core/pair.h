// Pair: a number for rows and one for columns.
#pragma once

#include <array>
#include <cstdint>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// {vertical, horizontal}, or one number for both: `.padding = 1` is `.padding = {1, 1}`.
struct Pair : std::array<int64_t, 2> {
  constexpr Pair(int64_t both) : array{both, both} {}
  constexpr Pair(int64_t rows, int64_t columns) : array{rows, columns} {}
  constexpr Pair(const std::array<int64_t, 2>& both) : array(both) {}
};

}  // namespace atlas::inline ATLAS_ABI
