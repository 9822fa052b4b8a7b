// The plain kernels that decide between boxes.
#pragma once

#include "atlas/kernels/nms.h"
#include "atlas/reference/nms.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

ATLAS_INLINE void nms(const Tensor& boxes, const Tensor& groups, double threshold, Tensor& kept) {
  visit_float(boxes, "nms", [&](auto tag) {
    using T = decltype(tag);
    reference::nms(boxes.size(0), boxes.data<T>(), groups.defined() ? groups.data<int64_t>() : nullptr,
                   static_cast<T>(threshold), kept.data<bool>());
  });
}

ATLAS_INLINE void assign_boxes(const Tensor& boxes, const Tensor& truths, const AssignSetting& s, Tensor& assigned) {
  visit_float(boxes, "assign_boxes", [&](auto tag) {
    using T = decltype(tag);
    reference::assign_boxes(boxes.size(0), boxes.data<T>(), truths.size(0), truths.data<T>(),
                            static_cast<T>(s.positive), static_cast<T>(s.negative), static_cast<T>(s.low_quality),
                            assigned.data<int64_t>());
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
