// Cutting a feature map into windows and putting it together again: whole pixels are moved, whatever their dtype.
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/kernels/window_layout.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

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
