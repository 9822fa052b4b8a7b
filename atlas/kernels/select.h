// Kernels that choose between elements by a boolean tensor.
#pragma once

#include "atlas/kernels/kernel.h"
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
inline constexpr Kernel<cpu::where_forward, cuda::where_forward> where_forward{"where", "where"};

/// y = (mask == when) ? value : x. mask is bool; x and y have one dtype, any; inputs may be strided and broadcast to y.
inline constexpr Kernel<cpu::masked_fill, cuda::masked_fill> masked_fill{"masked_fill", "masked_fill"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/select-inl.h"
#endif
