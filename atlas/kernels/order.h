// Kernels along one axis of a contiguous tensor that keep or find positions: argmax, topk, sort, cumsum.
// x is seen as [outer, n, inner]; topk and sort work on rows, [outer, n].
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// True when a ranks before b: NaN first, then by size. (a != a is false for integers.)
template <class T>
ATLAS_HOST_DEVICE bool ranks_before(T a, T b) {
  return (a > b) | ((a != a) & (b == b));
}

namespace cpu {
void argmax_forward(const Tensor& x, int64_t n, int64_t inner, Tensor& index);
void topk_forward(const Tensor& x, int64_t n, int64_t k, Tensor& values, Tensor& index);
void sort_forward(const Tensor& x, int64_t n, bool descending, Tensor& values, Tensor& index);
void topk_backward(const Tensor& dy, const Tensor& index, int64_t n, int64_t k, Tensor& dx);
void cumsum_forward(const Tensor& x, int64_t n, int64_t inner, bool reverse, Tensor& y);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void argmax_forward(const Tensor& x, int64_t n, int64_t inner, Tensor& index);
void topk_forward(const Tensor& x, int64_t n, int64_t k, Tensor& values, Tensor& index);
void sort_forward(const Tensor& x, int64_t n, bool descending, Tensor& values, Tensor& index);
void topk_backward(const Tensor& dy, const Tensor& index, int64_t n, int64_t k, Tensor& dx);
void cumsum_forward(const Tensor& x, int64_t n, int64_t inner, bool reverse, Tensor& y);
}  // namespace cuda

namespace kernels {

/// index[o, i] = position of the first largest x[o, k, i] over k; NaN counts as largest. x: float32, float64, int64,
/// uint8; n > 0; index int64.
inline constexpr Kernel<cpu::argmax_forward, cuda::argmax_forward> argmax_forward{"argmax", "argmax"};

/// The k largest of each row, largest first, NaN before all, the earlier first among equals; and their positions
/// (int64).
inline constexpr Kernel<cpu::topk_forward, cuda::topk_forward> topk_forward{"topk", "topk"};

/// Each row in order, smallest or largest first, the earlier first among equals; NaN counts as largest. And the
/// positions (int64). x as argmax's.
inline constexpr Kernel<cpu::sort_forward, cuda::sort_forward> sort_forward{"sort", "sort"};

/// dx[o, index[o, j]] = dy[o, j], 0 elsewhere (overwrites). float32, float64.
inline constexpr Kernel<cpu::topk_backward, cuda::topk_backward> topk_backward{"topk", "topk backward"};

/// y[o, k, i] = sum of x[o, j, i] over j <= k, or j >= k when reverse. float32 (summed in float64), float64, int64.
inline constexpr Kernel<cpu::cumsum_forward, cuda::cumsum_forward> cumsum_forward{"cumsum", "cumsum"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/order-inl.h"
#endif
