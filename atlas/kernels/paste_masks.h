// Kernel of mask pasting: small masks stretched over their boxes in an image.
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/kernels/paste_axis.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace cpu {
void paste_masks(const Tensor& masks, const Tensor& boxes, double threshold, Tensor& y);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void paste_masks(const Tensor& masks, const Tensor& boxes, double threshold, Tensor& y);
}  // namespace cuda
namespace cpu::plain {  // the same as plain loops, in atlas/reference/
void paste_masks(const Tensor& masks, const Tensor& boxes, double threshold, Tensor& y);
}  // namespace cpu::plain

namespace kernels {

/// y[n, i, j] = sum over k and l of (part of k in row i) (part of l in column j) masks[n, k, l]. masks float32 or
/// float64 [N, S, S]; boxes float64 [N, 4]; y [N, H, W] of the masks' dtype, or uint8: 1 where the sum is at least
/// threshold. All contiguous; sums are taken in float64.
inline constexpr Kernel<cpu::paste_masks, cuda::paste_masks, cpu::plain::paste_masks> paste_masks{"paste_masks",
                                                                                                  "paste_masks"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/paste_masks-inl.h"
#include "atlas/reference/paste_masks-inl.h"
#endif
