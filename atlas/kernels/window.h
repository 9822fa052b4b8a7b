// Cutting a feature map into windows and putting it together again: whole pixels are moved, whatever their dtype.
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// A map of height x width pixels (or tokens) cut into windows, row by row. Windows at the right and the bottom edge
/// reach beyond the map when their sides do not divide it; what they hold there is padding.
struct WindowLayout {
  int64_t height = 1, width = 1;                ///< of the map
  int64_t window_height = 1, window_width = 1;  ///< of a window

  int64_t rows() const { return (height + window_height - 1) / window_height; }  ///< windows above one another
  int64_t columns() const { return (width + window_width - 1) / window_width; }  ///< windows side by side
  int64_t windows() const { return rows() * columns(); }                         ///< of one map
  int64_t pixels() const { return window_height * window_width; }                ///< of one window, padding included
  bool padded() const { return height % window_height != 0 || width % window_width != 0; }
  bool operator==(const WindowLayout&) const = default;
};

// map [B, H, W, C], windows [B layout.windows(), layout.pixels(), C]; contiguous.
namespace cpu {
void window_partition(const Tensor& map, const WindowLayout& layout, Tensor& windows);
void window_reverse(const Tensor& windows, const WindowLayout& layout, Tensor& map);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void window_partition(const Tensor& map, const WindowLayout& layout, Tensor& windows);
void window_reverse(const Tensor& windows, const WindowLayout& layout, Tensor& map);
}  // namespace cuda
namespace cpu::plain {  // the same as plain loops, in atlas/reference/
void window_partition(const Tensor& map, const WindowLayout& layout, Tensor& windows);
void window_reverse(const Tensor& windows, const WindowLayout& layout, Tensor& map);
}  // namespace cpu::plain

namespace kernels {

/// Pixels beyond the right and bottom edge are zero.
inline constexpr Kernel<cpu::window_partition, cuda::window_partition, cpu::plain::window_partition> window_partition{
    "window_partition", "window_partition"};

/// Pixels beyond the right and bottom edge are left out.
inline constexpr Kernel<cpu::window_reverse, cuda::window_reverse, cpu::plain::window_reverse> window_reverse{
    "window_reverse", "window_reverse"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/window-inl.h"
#include "atlas/reference/window-inl.h"
#endif
