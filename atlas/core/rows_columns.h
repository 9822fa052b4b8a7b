// RowsColumns: a number for rows and one for columns.
#pragma once

#include <array>
#include <cstdint>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// {vertical, horizontal}, or one number for both: `.padding = 1` is `.padding = {1, 1}`.
struct RowsColumns : std::array<int64_t, 2> {
  constexpr RowsColumns(int64_t both) : array{both, both} {}
  constexpr RowsColumns(int64_t rows, int64_t columns) : array{rows, columns} {}
  constexpr RowsColumns(const std::array<int64_t, 2>& both) : array(both) {}
};

}  // namespace atlas::inline ATLAS_ABI
