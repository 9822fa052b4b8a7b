// Kernels between a tensor and a list of flat positions in it: which positions are true, and elements put there.
#pragma once

#include "atlas/core/profile.h"
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
inline void true_positions(const Tensor& mask, Tensor& index) {
  const ProfileScope profile("nonzero", 0, mask, index);
  if constexpr (kWithCuda)
    if (on_cuda("nonzero", mask, index)) return cuda::true_positions(mask, index);
  cpu::true_positions(mask, index);
}

/// index[k] = the indices, axis by axis, of flat position[k] in a tensor of `shape`. int64 [count] to [count, axes].
inline void unravel(const Tensor& position, const Shape& shape, Tensor& index) {
  const ProfileScope profile("nonzero", 0, position, index);
  if constexpr (kWithCuda)
    if (on_cuda("nonzero", position, index)) return cuda::unravel(position, shape, index);
  cpu::unravel(position, shape, index);
}

/// y[index[k]] = x[k] for positions that differ; other elements stay. x one axis, y any, contiguous, of one dtype.
inline void put(const Tensor& x, const Tensor& index, Tensor& y) {
  const ProfileScope profile("put", 0, x, index, y);
  if constexpr (kWithCuda)
    if (on_cuda("put", x, index, y)) return cuda::put(x, index, y);
  cpu::put(x, index, y);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/compact-inl.h"
#endif
