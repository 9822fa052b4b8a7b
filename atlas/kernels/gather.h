// Kernels of gather and its backward: elements picked along one axis by an int64 index, and added back.
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace cpu {
/// Raises an error naming `op` unless every element of `index` (int64) is in [0, length).
void check_index(const Tensor& index, int64_t length, std::string_view op);
/// y[.., k, ..] = x[.., index[.., k, ..], ..] along `axis`. index and y have one shape; x is at least as long on the
/// other axes. Any strides, any dtype; indices were checked.
void gather_forward(const Tensor& x, const Tensor& index, int axis, Tensor& y);
/// dx[.., index[.., k, ..], ..] += dy[.., k, ..] along `axis`, for each place in increasing k. float32, float64, int64.
void gather_backward(const Tensor& dy, const Tensor& index, int axis, Tensor& dx);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void check_index(const Tensor& index, int64_t length, std::string_view op);
void gather_forward(const Tensor& x, const Tensor& index, int axis, Tensor& y);
void gather_backward(const Tensor& dy, const Tensor& index, int axis, Tensor& dx);
}  // namespace cuda

namespace kernels {
inline void check_index(const Tensor& index, int64_t length, std::string_view op) {
  if constexpr (kWithCuda)
    if (on_cuda(op, index)) return cuda::check_index(index, length, op);
  cpu::check_index(index, length, op);
}
inline constexpr Kernel<cpu::gather_forward, cuda::gather_forward> gather_forward{"gather", "gather"};
inline constexpr Kernel<cpu::gather_backward, cuda::gather_backward> gather_backward{"gather", "gather backward"};
}  // namespace kernels

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/gather-inl.h"
#endif
