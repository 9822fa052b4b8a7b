// Dropout: every element, or every row of axis 0, is zeroed at random by a counter-based mask that is never stored.
#pragma once

#include "atlas/core/rng.h"
#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace cpu {
void dropout(const Tensor& x, double p, uint64_t seed, uint64_t stream, int64_t first, Tensor& y);
void drop_path(const Tensor& x, double p, uint64_t seed, uint64_t stream, Tensor& y);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void dropout(const Tensor& x, double p, uint64_t seed, uint64_t stream, int64_t first, Tensor& y);
void drop_path(const Tensor& x, double p, uint64_t seed, uint64_t stream, Tensor& y);
}  // namespace cuda

namespace kernels {

/// y_i = x_i / (1 - p) when u_j >= p, else 0, with j = first + i and u_j = word j % 4 of Philox(seed, stream, j / 4): x
/// is a part of what is drawn for, from element `first` on. Contiguous; also the gradient, with dy for x.
inline constexpr Kernel<cpu::dropout, cuda::dropout> dropout{"dropout", "dropout"};

/// y_i = x_i / (1 - p) or 0 in the same way, with one u per row of axis 0, from row 0 on.
inline constexpr Kernel<cpu::drop_path, cuda::drop_path> drop_path{"drop_path", "drop_path"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/dropout-inl.h"
#endif
