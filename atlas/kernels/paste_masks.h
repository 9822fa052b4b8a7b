// Kernel of mask pasting: small masks stretched over their boxes in an image.
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// Part of entry k of a mask's axis in a pixel of the image: 1 - |p - k|, at least 0, where p is the pixel's center on
/// the axis. No part where the box is empty.
struct PasteAxis {
  double low = 0, length = 0, size = 0;
  ATLAS_HOST_DEVICE double position(int64_t pixel) const {
    return (static_cast<double>(pixel) + 0.5 - low) / length * size - 0.5;
  }
  /// Calls f(entry, part) for the entries, at most two, that the pixel has a part of.
  template <class F>
  ATLAS_HOST_DEVICE void for_each(int64_t pixel, const F& f) const {
    if (length == 0) return;
    const double p = position(pixel);
    if (!(p > -1 && p < size)) return;
    const auto lower = static_cast<int64_t>(p + 1) - 1;  // floor, p > -1
    const double part = p - static_cast<double>(lower);
    if (lower >= 0 && part < 1) f(lower, 1 - part);
    if (lower + 1 < static_cast<int64_t>(size) && part > 0) f(lower + 1, part);
  }
};

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
