// RoIAlign: means of bilinear samples in the bins of rectangles of feature maps, and the gradient of the map.
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// What RoIAlign reads from one map.
struct RoiAlignSetting {
  int64_t bins = 7;    ///< a side
  double scale = 1;    ///< pixels of the map per pixel of the image
  int64_t level = -1;  ///< regions whose entry in `levels` is another are left alone; without levels, all are meant
};

// map, dmap [B, H, W, C]; rois float64 [R, 5]: image, left, top, right, bottom; levels int64 [R] or undefined; y, dy
// [R, bins, bins, C]. All contiguous; map and y of one float dtype, or map uint8 and y float64. An empty or inverted
// region gives zeros. CPU: @throws Error for an image that is not there; elsewhere such a region gives zeros.
namespace cpu {
void roi_align_forward(const Tensor& map, const Tensor& rois, const Tensor& levels, const RoiAlignSetting& setting,
                       Tensor& y);
void roi_align_backward(const Tensor& dy, const Tensor& rois, const Tensor& levels, const RoiAlignSetting& setting,
                        Tensor& dmap);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void roi_align_forward(const Tensor& map, const Tensor& rois, const Tensor& levels, const RoiAlignSetting& setting,
                       Tensor& y);
void roi_align_backward(const Tensor& dy, const Tensor& rois, const Tensor& levels, const RoiAlignSetting& setting,
                        Tensor& dmap);
}  // namespace cuda
namespace cpu::plain {  // the same as plain loops, in atlas/reference/
void roi_align_forward(const Tensor& map, const Tensor& rois, const Tensor& levels, const RoiAlignSetting& setting,
                       Tensor& y);
void roi_align_backward(const Tensor& dy, const Tensor& rois, const Tensor& levels, const RoiAlignSetting& setting,
                        Tensor& dmap);
}  // namespace cpu::plain

namespace kernels {

/// y[r, i, j, c] = mean of the samples of bin (i, j) of region r. Rows of other levels stay as they are.
inline constexpr Kernel<cpu::roi_align_forward, cuda::roi_align_forward, cpu::plain::roi_align_forward>
    roi_align_forward{"roi_align", "roi_align"};

/// Overwrites dmap.
inline constexpr Kernel<cpu::roi_align_backward, cuda::roi_align_backward, cpu::plain::roi_align_backward>
    roi_align_backward{"roi_align", "roi_align backward"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/roi_align-inl.h"
#include "atlas/reference/roi_align-inl.h"
#endif
