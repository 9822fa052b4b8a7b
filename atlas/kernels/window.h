// Cutting a feature map into square windows and putting it together again: whole pixels are moved, whatever their
// dtype.
#pragma once

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

// map [B, H, W, C], windows [B nh nw, window^2, C] with nh = ceil(H / window), nw = ceil(W / window); contiguous.
namespace cpu {
void window_partition(const Tensor& map, int64_t window, Tensor& windows);
void window_reverse(const Tensor& windows, int64_t window, Tensor& map);
}  // namespace cpu

namespace kernels {

/// Pixels beyond the right and bottom edge are zero.
inline void window_partition(const Tensor& map, int64_t window, Tensor& windows) {
  if (map.device().is_cuda()) fail_no_cuda("window_partition");
  cpu::window_partition(map, window, windows);
}

/// Pixels beyond the right and bottom edge are left out.
inline void window_reverse(const Tensor& windows, int64_t window, Tensor& map) {
  if (windows.device().is_cuda()) fail_no_cuda("window_reverse");
  cpu::window_reverse(windows, window, map);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/window-inl.h"
#endif
