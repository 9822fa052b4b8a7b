// Unary element-wise kernels: y = f(x) and dx = dy f'(v), for the functors of kernels/functors.h.
#pragma once

#include "atlas/core/profile.h"
#include "atlas/kernels/functors.h"
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
  const ProfileScope profile(F::kName, 0, x, y);
  if constexpr (kWithCuda)
    if (on_cuda(F::kName, x, y)) return cuda::unary_forward(f, x, y);
  cpu::unary_forward(f, x, y);
}

/// dx = dy f'(v), v being x or y as F::kFromOutput says. v and dy may be strided; dx is contiguous, of their shape.
template <class F>
void unary_backward(F f, const Tensor& v, const Tensor& dy, Tensor& dx) {
  const ProfileScope profile("unary backward", 0, v, dy, dx);
  if constexpr (kWithCuda)
    if (on_cuda(F::kName, v, dy, dx)) return cuda::unary_backward(f, v, dy, dx);
  cpu::unary_backward(f, v, dy, dx);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/unary-inl.h"
#endif
