// Kernels that decide between boxes: non-maximum suppression, and assignment of boxes to ground truth.
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// Limits of assign_boxes().
struct AssignSetting {
  double positive = 0.5;    ///< least IoU of a match
  double negative = 0.5;    ///< background is below
  double low_quality = -1;  ///< least best IoU of a truth that takes the boxes that reach it; negative: no truth does
};

namespace cpu {
void nms(const Tensor& boxes, const Tensor& groups, double threshold, Tensor& kept);
void assign_boxes(const Tensor& boxes, const Tensor& truths, const AssignSetting& setting, Tensor& assigned);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void nms(const Tensor& boxes, const Tensor& groups, double threshold, Tensor& kept);
void assign_boxes(const Tensor& boxes, const Tensor& truths, const AssignSetting& setting, Tensor& assigned);
}  // namespace cuda
namespace cpu::plain {  // the same as plain loops, in atlas/reference/
void nms(const Tensor& boxes, const Tensor& groups, double threshold, Tensor& kept);
void assign_boxes(const Tensor& boxes, const Tensor& truths, const AssignSetting& setting, Tensor& assigned);
}  // namespace cpu::plain

namespace kernels {

/// kept[i] = no kept box before i, of its group, overlaps it by more than threshold. boxes float32 or float64 [N, 4],
/// best first; groups int64 [N] or undefined; kept bool [N]. All contiguous.
inline constexpr Kernel<cpu::nms, cuda::nms, cpu::plain::nms> nms{"nms", "nms"};

/// assigned[i] = number of the truth that box i shall find, -1 for background, -2 for neither. boxes [N, 4], truths
/// [G, 4] of one float dtype, G >= 1; assigned int64 [N]. All contiguous.
inline constexpr Kernel<cpu::assign_boxes, cuda::assign_boxes, cpu::plain::assign_boxes> assign_boxes{"assign_boxes",
                                                                                                      "assign_boxes"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/nms-inl.h"
#include "atlas/reference/nms-inl.h"
#endif
