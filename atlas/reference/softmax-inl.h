// The plain kernels of softmax.
#pragma once

#include "atlas/kernels/softmax.h"
#include "atlas/reference/elements.h"
#include "atlas/reference/softmax.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

ATLAS_INLINE void softmax_forward(const Tensor& x, const AxisView& view, bool logarithm, Tensor& y) {
  visit_float(x, "softmax", [&](auto tag) {
    using T = decltype(tag);
    reference::softmax<T>(view.outer, view.n, view.inner, logarithm, pointer<T>(x), pointer<T>(y));
  });
}
ATLAS_INLINE void softmax_backward(const Tensor& y, const Tensor& dy, const AxisView& view, bool logarithm,
                                   Tensor& dx) {
  visit_float(y, "softmax", [&](auto tag) {
    using T = decltype(tag);
    reference::softmax_backward<T>(view.outer, view.n, view.inner, logarithm, pointer<T>(y), pointer<T>(dy),
                                   pointer<T>(dx));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
