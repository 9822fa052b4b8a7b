// Windows of a feature map: partition with zero padding, and its inverse with cropping.
#pragma once

#include "atlas/kernels/window.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

inline constexpr int64_t kMostTokens = 1 << 20;  // keeps sums and squares far from overflow

inline Tensor cut(const Tensor& map, const WindowLayout& l) {
  Tensor windows = empty({map.shape()[0] * l.windows(), l.pixels(), map.shape()[3]}, map.dtype(), map.device());
  kernels::window_partition(map.contiguous(), l, windows);
  return windows;
}

}  // namespace detail

/// Cuts a feature map into windows, row by row; the map is padded with zeros at the right and the bottom to whole
/// windows.
/// @param x       [B, H, W, C], any dtype
/// @param layout  of H x W pixels; windows of at least 1 x 1
/// @return [B layout.windows(), layout.pixels(), C]; windows of one image are neighbors
/// @throws Error when x has not four axes or is not a map of the layout's, or a window's side is out of range.
Tensor window_partition(const Tensor& x, const WindowLayout& layout);
/// window_partition with square windows.
/// @param window  side of a window, at least 1
Tensor window_partition(const Tensor& x, int64_t window);

/// Puts windows together to a feature map and crops the padding: the inverse of window_partition.
/// @param windows  [B layout.windows(), layout.pixels(), C], any dtype
/// @param layout   of the map
/// @param batch    B
/// @return [B, H, W, C]
/// @throws Error when the number or size of the windows does not fit the map.
Tensor window_reverse(const Tensor& windows, const WindowLayout& layout, int64_t batch);
/// window_reverse with square windows.
Tensor window_reverse(const Tensor& windows, int64_t window, int64_t batch, int64_t height, int64_t width);

/// window_partition from plain ops.
Tensor window_partition_reference(const Tensor& x, int64_t window);

/// window_reverse from plain ops.
Tensor window_reverse_reference(const Tensor& windows, int64_t window, int64_t batch, int64_t height, int64_t width);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/window-inl.h"
#endif
