// How a map is cut into windows.
#pragma once

#include <cstdint>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// A map of height x width pixels (or tokens) cut into windows, row by row. Windows at the right and the bottom edge
/// reach beyond the map when their sides do not divide it; what they hold there is padding.
struct WindowLayout {
  int64_t height = 1, width = 1;                ///< of the map
  int64_t window_height = 1, window_width = 1;  ///< of a window

  int64_t rows() const { return parts(height, window_height); }    ///< windows above one another
  int64_t columns() const { return parts(width, window_width); }   ///< windows side by side
  int64_t windows() const { return rows() * columns(); }           ///< of one map
  int64_t pixels() const { return window_height * window_width; }  ///< of one window, padding included
  bool padded() const { return height % window_height != 0 || width % window_width != 0; }
  bool operator==(const WindowLayout&) const = default;

 private:
  /// Rounded up, without a sum that may overflow.
  static int64_t parts(int64_t length, int64_t side) { return length / side + (length % side != 0 ? 1 : 0); }
};

}  // namespace atlas::inline ATLAS_ABI
