// Overlaps of boxes, as all kernels compute them. Products are rounded before they are added, on every backend: equal
// overlaps must be equal in floating point, since assignment compares them with ==.
#pragma once

#include <cstdint>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// Left, top, right, bottom.
template <class T>
struct BoxEdges {
  T x1, y1, x2, y2;
};

template <class T>
ATLAS_HOST_DEVICE T rounded_product(T a, T b) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(T) == 4)
    return __fmul_rn(a, b);
  else
    return __dmul_rn(a, b);
#else
  return a * b;
#endif
}
template <class T>
ATLAS_HOST_DEVICE T box_area(const BoxEdges<T>& b) {
  return rounded_product(b.x2 - b.x1, b.y2 - b.y1);
}
template <class T>
ATLAS_HOST_DEVICE T box_intersection(const BoxEdges<T>& a, const BoxEdges<T>& b) {
  const T left = a.x1 > b.x1 ? a.x1 : b.x1, right = a.x2 < b.x2 ? a.x2 : b.x2;
  const T top = a.y1 > b.y1 ? a.y1 : b.y1, bottom = a.y2 < b.y2 ? a.y2 : b.y2;
  const T width = right - left, height = bottom - top;
  return rounded_product(width > 0 ? width : T(0), height > 0 ? height : T(0));
}
/// A union below 1e-6 counts as 1e-6.
template <class T>
ATLAS_HOST_DEVICE T box_iou(const BoxEdges<T>& a, T area_a, const BoxEdges<T>& b, T area_b) {
  const T inter = box_intersection(a, b), all = area_a + area_b - inter;
  return inter / (all > T(1e-6) ? all : T(1e-6));
}
/// Whether two boxes overlap by more than `threshold`; 0 / 0 (two empty boxes) is not more than anything.
template <class T>
ATLAS_HOST_DEVICE bool boxes_overlap(const BoxEdges<T>& a, T area_a, const BoxEdges<T>& b, T area_b, T threshold) {
  const T inter = box_intersection(a, b);
  return inter / (area_a + area_b - inter) > threshold;
}

}  // namespace atlas::inline ATLAS_ABI
