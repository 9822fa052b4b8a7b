// Bodies of ops/order.h.
#pragma once

#include "atlas/ops/order.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE std::pair<Tensor, Tensor> sort(const Tensor& x, int axis, bool descending) {
  check_dtype(x, "sort", takes::integers | takes::boolean);
  const bool scalar = x.dim() == 0 && (axis == 0 || axis == -1);  // one element, which has an order too
  const int a = scalar ? 0 : normalize_axis(axis, x, "sort");
  const int64_t n = scalar ? 1 : x.shape()[a];
  const Tensor rows = detail::raw_contiguous(detail::swap_last(x, a));
  Tensor values = empty(rows.shape(), x.dtype(), x.device()), index = empty(rows.shape(), int64, x.device());
  Tensor sorted = detail::as_bytes(values);
  kernels::sort_forward(detail::as_bytes(rows), n, descending, sorted, index);
  const Saved saved(index, "sort");
  values = detail::raw_contiguous(detail::swap_last(values, a));
  values = record("sort", values, {x}, [saved, a, n](const Tensor& dy) {
    const Tensor dv = detail::raw_contiguous(detail::swap_last(dy, a));
    Tensor dx = empty_like(dv);
    kernels::topk_backward(dv, saved(), n, n, dx);
    return Grads{detail::swap_last(dx, a)};
  });
  return {values, detail::raw_contiguous(detail::swap_last(index, a))};
}

}  // namespace atlas::inline ATLAS_ABI
