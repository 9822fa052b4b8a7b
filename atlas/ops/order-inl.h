// Bodies of ops/order.h.
#pragma once

#include <utility>

#include "atlas/autograd/node.h"
#include "atlas/kernels/order.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/order.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE int64_t inner_count(const Shape& shape, int axis) {
  int64_t n = 1;
  for (int i = axis + 1; i < shape.size(); ++i) n *= shape[i];
  return n;
}

/// A view with `axis` exchanged with the last axis, outside the graph.
inline Tensor swap_last(const Tensor& t, int axis) {
  Shape shape = t.shape(), strides = t.strides();
  if (shape.empty()) return t;
  std::swap(shape[axis], shape[shape.size() - 1]);
  std::swap(strides[axis], strides[strides.size() - 1]);
  return raw_view(t, shape, strides, t.offset());
}

}  // namespace detail

ATLAS_INLINE Tensor argmax(const Tensor& x, int axis, bool keepdim) {
  check_dtype(x, "argmax", takes::integers | takes::boolean);
  const int a = normalize_axis(axis, x, "argmax");
  Shape shape = x.shape();
  if (keepdim)
    shape[a] = 1;
  else
    shape.erase(a);
  check(x.shape()[a] > 0 || shape.numel() == 0, "argmax", "{} has no elements along axis {} to choose from",
        describe(x), a);
  Tensor index = empty(shape, int64, x.device());
  kernels::argmax_forward(detail::as_bytes(detail::raw_contiguous(x)), x.shape()[a], detail::inner_count(x.shape(), a),
                          index);
  return index;
}

ATLAS_INLINE std::pair<Tensor, Tensor> topk(const Tensor& x, int64_t k, int axis) {
  check_dtype(x, "topk", takes::integers);
  const int a = normalize_axis(axis, x, "topk");
  const int64_t n = x.shape()[a];
  check(k >= 0 && k <= n, "topk", "k = {} is outside [0, {}], the length of axis {} of {}", k, n, a, describe(x));
  // Rows are sorted along the last axis; other axes are brought there and back.
  const Tensor rows = detail::raw_contiguous(detail::swap_last(x, a));
  Shape shape = rows.shape();
  shape[shape.size() - 1] = k;
  Tensor values = empty(shape, x.dtype(), x.device()), index = empty(shape, int64, x.device());
  kernels::topk_forward(rows, n, k, values, index);
  const Saved saved(index, "topk");
  values = detail::raw_contiguous(detail::swap_last(values, a));
  values = record("topk", values, {x}, [saved, a, n, k](const Tensor& dy) {
    const Tensor dv = detail::raw_contiguous(detail::swap_last(dy, a));
    Shape full = dv.shape();
    full[full.size() - 1] = n;
    Tensor dx = empty(full, dy.dtype(), dy.device());
    kernels::topk_backward(dv, saved(), n, k, dx);
    return Grads{detail::swap_last(dx, a)};
  });
  return {values, detail::raw_contiguous(detail::swap_last(index, a))};
}

ATLAS_INLINE Tensor cumsum(const Tensor& x, int axis) {
  check_dtype(x, "cumsum", takes::int64);
  const int a = normalize_axis(axis, x, "cumsum");
  const int64_t n = x.shape()[a], inner = detail::inner_count(x.shape(), a);
  Tensor y = empty_like(x);
  kernels::cumsum_forward(detail::raw_contiguous(x), n, inner, false, y);
  return record("cumsum", y, {x}, [n, inner](const Tensor& dy) {
    Tensor dx = empty_like(dy);
    kernels::cumsum_forward(detail::raw_contiguous(dy), n, inner, true, dx);
    return Grads{dx};
  });
}

}  // namespace atlas::inline ATLAS_ABI

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
