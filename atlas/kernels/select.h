// Kernels that choose between elements by a boolean tensor.
#pragma once

#include "atlas/core/profile.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace cpu {
void where_forward(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y);
void masked_fill(const Tensor& x, const Tensor& mask, bool when, double value, Tensor& y);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void where_forward(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y);
void masked_fill(const Tensor& x, const Tensor& mask, bool when, double value, Tensor& y);
}  // namespace cuda

namespace kernels {

/// y = condition ? a : b. condition is bool; a, b, y have one dtype, any; inputs may be strided and broadcast to y.
inline void where_forward(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  const ProfileScope profile("where", 0, condition, a, b, y);
  if constexpr (kWithCuda)
    if (on_cuda("where", condition, a, b, y)) return cuda::where_forward(condition, a, b, y);
  cpu::where_forward(condition, a, b, y);
}

/// y = (mask == when) ? value : x. mask is bool; x and y have one dtype, any; inputs may be strided and broadcast to y.
inline void masked_fill(const Tensor& x, const Tensor& mask, bool when, double value, Tensor& y) {
  const ProfileScope profile("masked_fill", 0, x, mask, y);
  if constexpr (kWithCuda)
    if (on_cuda("masked_fill", x, mask, y)) return cuda::masked_fill(x, mask, when, value, y);
  cpu::masked_fill(x, mask, when, value, y);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/select-inl.h"
#endif
