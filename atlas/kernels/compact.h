// Kernels between a tensor and a list of flat positions in it: which positions are true, and elements put there.
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace cpu {
void true_positions(const Tensor& mask, Tensor& index);
void unravel(const Tensor& position, const Shape& shape, Tensor& index);
void put(const Tensor& x, const Tensor& index, Tensor& y);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void true_positions(const Tensor& mask, Tensor& index);
void unravel(const Tensor& position, const Shape& shape, Tensor& index);
void put(const Tensor& x, const Tensor& index, Tensor& y);
}  // namespace cuda

namespace kernels {

/// index[k] = position of the k-th true element in row-major order. mask bool, contiguous; index int64, one axis, as
/// long as the mask has true elements.
inline constexpr Kernel<cpu::true_positions, cuda::true_positions> true_positions{"nonzero", "nonzero"};

/// index[k] = the indices, axis by axis, of flat position[k] in a tensor of `shape`. int64 [count] to [count, axes].
inline constexpr Kernel<cpu::unravel, cuda::unravel> unravel{"nonzero", "nonzero"};

/// y[index[k]] = x[k] for positions that differ; other elements stay. x one axis, y any, contiguous, of one dtype.
inline constexpr Kernel<cpu::put, cuda::put> put{"put", "put"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/compact-inl.h"
#endif
