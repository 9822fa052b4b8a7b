// Binary element-wise kernels with broadcasting: y = f(a, b), arithmetic and comparisons.
#pragma once

#include "atlas/kernels/functors.h"
#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace cpu {
template <class F>
void binary_forward(F f, const Tensor& a, const Tensor& b, Tensor& y);
template <class F>
void binary_scalar(F f, const Tensor& a, double s, bool scalar_first, Tensor& y);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
template <class F>
void binary_forward(F f, const Tensor& a, const Tensor& b, Tensor& y);
template <class F>
void binary_scalar(F f, const Tensor& a, double s, bool scalar_first, Tensor& y);
}  // namespace cuda

namespace kernels {

/// y = f(a, b). a and b may be strided and broadcast to y's shape; y is contiguous, of their dtype (bool for
/// comparisons).
template <class F>
void binary_forward(F f, const Tensor& a, const Tensor& b, Tensor& y) {
  Kernel<cpu::binary_forward<F>, cuda::binary_forward<F>>(F::kName, F::kName)(f, a, b, y);
}

/// y = f(a, s), or f(s, a) when scalar_first; s is converted to a's dtype. y is contiguous, of a's shape.
template <class F>
void binary_scalar(F f, const Tensor& a, double s, bool scalar_first, Tensor& y) {
  Kernel<cpu::binary_scalar<F>, cuda::binary_scalar<F>>(F::kName, F::kName)(f, a, s, scalar_first, y);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/binary-inl.h"
#endif
