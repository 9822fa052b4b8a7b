// Ops along one axis that find or keep positions: argmax, topk, sort, cumsum.
#pragma once

#include <utility>

#include "atlas/autograd/node.h"
#include "atlas/kernels/order.h"
#include "atlas/ops/axes.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// Product of the axis lengths after `axis`.
inline int64_t inner_count(const Shape& shape, int axis) {
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

/// Position of the largest element along an axis; the first among equals, NaN counting as largest. No gradient.
/// @param x  float32, float64, int64, uint8 or bool
/// @param axis  which axis; negative ones count from the end
/// @param keepdim  keep the axis with length 1
/// @return int64, x's shape without the axis
/// @throws Error for an axis out of range or of length 0
inline Tensor argmax(const Tensor& x, int axis = -1, bool keepdim = false) {
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

/// The k largest elements along an axis, largest first, and their positions; NaN before all, the earlier first among
/// equals.   dx = dy at the positions, 0 elsewhere
/// @param x  float32, float64, int64 or uint8
/// @param k  0 <= k <= length of the axis
/// @param axis  which axis; negative ones count from the end
/// @return {values, positions (int64)}, x's shape with k in place of the axis' length
/// @throws Error for an axis or a k out of range
inline std::pair<Tensor, Tensor> topk(const Tensor& x, int64_t k, int axis = -1) {
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

/// The elements along an axis in order, the earlier first among equals, and their positions; NaN counts as largest.
/// dx[index[k]] = dy[k]
/// @param x  float32, float64, int64, uint8 or bool
/// @param axis  which axis; negative ones count from the end
/// @param descending  the largest first
/// @return {values, positions (int64)} of x's shape
/// @throws Error for an axis out of range
ATLAS_INLINE std::pair<Tensor, Tensor> sort(const Tensor& x, int axis = -1, bool descending = false);

/// Running sum along an axis: y[k] = x[0] + ... + x[k].   dx[k] = dy[k] + ... + dy[n - 1]
/// @param x  float32 (summed in float64), float64 or int64
/// @param axis  which axis; negative ones count from the end
/// @return x's shape and dtype
/// @throws Error for an axis out of range
inline Tensor cumsum(const Tensor& x, int axis) {
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

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/order-inl.h"
#endif
