// Axis lists of reductions, and the reductions themselves outside the graph; sum, max and sum_to stand on it.
#pragma once

#include <array>

#include "atlas/kernels/reduce.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::detail {

/// Which axes a reduction removes.
using AxisMask = std::array<bool, kMaxDims>;

/// Axis numbers (negative ones count from the end; none means all) as a mask over the axes of x.
/// @throws Error naming `op` for an axis out of range or given twice.
inline AxisMask axis_mask(const Shape& axes, const Tensor& x, const char* op) {
  AxisMask mask{};
  for (int i = 0; i < x.dim() && axes.empty(); ++i) mask[static_cast<size_t>(i)] = true;
  for (int64_t a : axes) {
    bool& reduced = mask[static_cast<size_t>(normalize_axis(a, x, op))];
    check(!reduced, op, "axis {} is given twice in {}", a, axes);
    reduced = true;
  }
  return mask;
}

/// x's shape with the axes of the mask set to 1 (keepdim) or left out.
inline Shape reduced_shape(const Shape& shape, const AxisMask& mask, bool keepdim) {
  Shape out;
  for (int i = 0; i < shape.size(); ++i) {
    if (!mask[static_cast<size_t>(i)])
      out.push_back(shape[i]);
    else if (keepdim)
      out.push_back(1);
  }
  return out;
}

/// A boolean tensor as the bytes 0 and 1 that it is, outside the graph; others as they are.
inline Tensor as_bytes(const Tensor& t) {
  if (!t.defined() || t.dtype() != boolean) return t;
  Tensor bytes = raw_view(t, t.shape(), t.strides(), t.offset());
  bytes.impl().dtype = uint8;
  return bytes;
}

/// How many elements go into one result.
inline int64_t reduced_count(const Shape& shape, const AxisMask& mask) {
  int64_t n = 1;
  for (int i = 0; i < shape.size(); ++i) n *= mask[static_cast<size_t>(i)] ? shape[i] : 1;
  return n;
}

/// A contiguous tensor under another shape of as many elements, outside the graph.
inline Tensor view_as(const Tensor& t, const Shape& shape) {
  return raw_view(t, shape, contiguous_strides(shape), t.offset());
}

/// A view of t (shape of x with reduced axes of length 1, or without them) repeated to x's shape, outside the graph.
inline Tensor expand_reduced(const Tensor& t, const Shape& shape, const AxisMask& mask) {
  Shape strides = Shape::filled(shape.size(), 0);
  const bool keepdim = t.dim() == shape.size();
  for (int i = 0, k = 0; i < shape.size(); ++i) {
    if (!mask[static_cast<size_t>(i)]) strides[i] = t.strides()[keepdim ? i : k++];
  }
  return raw_view(t, shape, strides, t.offset());
}

/// The tensor itself when it is contiguous, else a contiguous copy; outside the graph.
inline Tensor raw_contiguous(const Tensor& t) { return t.is_contiguous() ? t : copy_of(t); }

/// Runs `step(x, n, inner, y, last)` once per group of neighbouring reduced axes, from the last to the first, each time
/// on a contiguous x seen as [outer, n, inner]; y has `shape` in the end. x must not be empty.
template <class Step>
Tensor reduce_groups(const Tensor& x, const AxisMask& mask, const Shape& shape, DType dtype, const Step& step) {
  Tensor t = raw_contiguous(x);
  int axis = x.dim() - 1;
  const auto reduced = [&](int i) { return mask[static_cast<size_t>(i)] && x.shape()[i] != 1; };
  const auto neutral = [&](int i) { return x.shape()[i] == 1; };
  const auto skip = [&] {
    while (axis >= 0 && !reduced(axis)) --axis;
  };
  int64_t inner = 1, after = axis;
  skip();
  for (; after > axis; --after) inner *= x.shape()[static_cast<int>(after)];
  do {
    int64_t n = 1;
    for (; axis >= 0 && (reduced(axis) || neutral(axis)); --axis) n *= x.shape()[axis];
    const int from = axis;
    skip();
    const bool last = axis < 0;
    Tensor y = empty(last ? shape : Shape{t.numel() / n}, dtype, x.device());
    step(t, n, inner, y, last);
    t = std::move(y);
    for (int i = from; i > axis; --i) inner *= x.shape()[i];
  } while (axis >= 0);
  return t;
}

/// scale times the sum over the axes of the mask, as a fresh contiguous tensor of the given shape, outside the graph.
/// The sum of nothing is 0. uint8 and bool are summed to int64.
inline Tensor raw_sum(const Tensor& x, const AxisMask& mask, const Shape& shape, double scale = 1) {
  check_dtype(x, "sum", takes::integers | takes::boolean);
  const DType dtype = x.dtype() == uint8 || x.dtype() == boolean ? int64 : x.dtype();
  if (x.numel() == 0) {
    Tensor y = empty(shape, dtype, x.device());
    fill_elements(y, 0 * scale);
    return y;
  }
  return reduce_groups(x, mask, shape, dtype, [&](const Tensor& t, int64_t n, int64_t inner, Tensor& y, bool last) {
    kernels::sum_forward(t, n, inner, last ? scale : 1.0, y);
  });
}

/// Largest or smallest (F) over the axes of the mask, likewise. @throws Error when there is nothing to choose from.
template <class F>
Tensor raw_extreme(F f, const char* op, const Tensor& x, const AxisMask& mask, const Shape& shape) {
  check_dtype(x, op, takes::integers | takes::boolean);
  if (x.dtype() == boolean) {  // as bytes, whose result are bools again
    Tensor y = raw_extreme(f, op, as_bytes(x), mask, shape);
    y.impl().dtype = boolean;
    return y;
  }
  if (x.numel() == 0) {
    check(shape.numel() == 0, op, "{} has no elements along the reduced axes to choose from", describe(x));
    return empty(shape, x.dtype(), x.device());
  }
  return reduce_groups(x, mask, shape, x.dtype(), [&](const Tensor& t, int64_t n, int64_t inner, Tensor& y, bool) {
    kernels::extreme_forward(f, t, n, inner, y);
  });
}

/// Undoes broadcasting outside the graph: sums x over the axes along which `shape` was stretched to x's shape.
inline Tensor raw_sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  AxisMask mask{};
  const int extra = x.dim() - shape.size();
  for (int i = 0; i < x.dim(); ++i)
    mask[static_cast<size_t>(i)] = i < extra || (shape[i - extra] == 1 && x.shape()[i] != 1);
  return raw_sum(x, mask, shape);
}

}  // namespace atlas::inline ATLAS_ABI::detail
