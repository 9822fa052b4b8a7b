// Kernels that choose between elements by a boolean tensor.
#pragma once

#include "atlas/core/profile.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace cpu {
void where_forward(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y);
void masked_fill(const Tensor& x, const Tensor& mask, bool when, double value, Tensor& y);
}  // namespace cpu

namespace kernels {

/// y = condition ? a : b. condition is bool; a, b, y have one dtype, any; inputs may be strided and broadcast to y.
inline void where_forward(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  if (condition.device().is_cuda()) fail_no_cuda("where");
  const ProfileScope profile("where", 0, condition, a, b, y);
  cpu::where_forward(condition, a, b, y);
}

/// y = (mask == when) ? value : x. mask is bool; x and y have one dtype, any; inputs may be strided and broadcast to y.
inline void masked_fill(const Tensor& x, const Tensor& mask, bool when, double value, Tensor& y) {
  if (x.device().is_cuda()) fail_no_cuda("masked_fill");
  const ProfileScope profile("masked_fill", 0, x, mask, y);
  cpu::masked_fill(x, mask, when, value, y);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/select-inl.h"
#endif
