// Unary element-wise kernels: y = f(x) and dx = dy f'(v), for the functors of kernels/functors.h.
#pragma once

#include "atlas/kernels/functors.h"
#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace cpu {
template <class F>
void unary_forward(F f, const Tensor& x, Tensor& y);
template <class F>
void unary_backward(F f, const Tensor& v, const Tensor& dy, Tensor& dx);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
template <class F>
void unary_forward(F f, const Tensor& x, Tensor& y);
template <class F>
void unary_backward(F f, const Tensor& v, const Tensor& dy, Tensor& dx);
}  // namespace cuda

namespace kernels {

/// y = f(x). x may be strided; y is contiguous, with the shape and dtype of x, and may be x itself.
template <class F>
void unary_forward(F f, const Tensor& x, Tensor& y) {
  Kernel<cpu::unary_forward<F>, cuda::unary_forward<F>>(F::kName, F::kName)(f, x, y);
}

/// dx = dy f'(v), v being x or y as F::kFromOutput says. v and dy may be strided; dx is contiguous, of their shape.
template <class F>
void unary_backward(F f, const Tensor& v, const Tensor& dy, Tensor& dx) {
  Kernel<cpu::unary_backward<F>, cuda::unary_backward<F>>(F::kName, "unary backward")(f, v, dy, dx);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/unary-inl.h"
#endif
