// Reductions over one axis of a contiguous tensor seen as [outer, n, inner]: y[o, i] = reduce over k of x[o, k, i].
// Several axes become one by merging neighbors, or several calls (ops/axes.h).
#pragma once

#include "atlas/kernels/functors.h"
#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace cpu {
void sum_forward(const Tensor& x, int64_t n, int64_t inner, double scale, Tensor& y);
template <class F>
void extreme_forward(F f, const Tensor& x, int64_t n, int64_t inner, Tensor& y);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void sum_forward(const Tensor& x, int64_t n, int64_t inner, double scale, Tensor& y);
template <class F>
void extreme_forward(F f, const Tensor& x, int64_t n, int64_t inner, Tensor& y);
}  // namespace cuda

namespace kernels {

/// y = scale times the sum over n. x contiguous float32, float64, int64, uint8 or bool, not empty; y contiguous of
/// outer * inner elements, of x's dtype (int64 for the integers and bool, scale then being 1).
inline constexpr Kernel<cpu::sum_forward, cuda::sum_forward> sum_forward{"sum", "sum"};

/// y = the largest (F = functors::Maximum) or smallest (functors::Minimum) over n; NaN wins. x as above but bool.
template <class F>
void extreme_forward(F f, const Tensor& x, int64_t n, int64_t inner, Tensor& y) {
  Kernel<cpu::extreme_forward<F>, cuda::extreme_forward<F>>(F::kName, F::kName)(f, x, n, inner, y);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/reduce-inl.h"
#endif
