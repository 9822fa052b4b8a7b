// Reductions over any axes as a few over neighboring ones. For bodies of ops.
#pragma once

#include <array>
#include <utility>

#include "atlas/kernels/reduce.h"
#include "atlas/tensor/memory.h"

// Declared before the ops' headers, which bring bodies that use it where everything is header-only.
namespace atlas::inline ATLAS_ABI::detail {

template <class Step>
Tensor reduce_groups(const Tensor& x, const std::array<bool, kMaxDims>& mask, const Shape& shape, DType dtype,
                     const Step& step);
template <class F>
Tensor raw_extreme(F f, const char* op, const Tensor& x, const std::array<bool, kMaxDims>& mask, const Shape& shape);

}  // namespace atlas::inline ATLAS_ABI::detail

#include "atlas/ops/axes.h"

namespace atlas::inline ATLAS_ABI::detail {

/// Runs `step(x, n, inner, y, last)` once per group of neighboring reduced axes, from the last to the first, each time
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

}  // namespace atlas::inline ATLAS_ABI::detail
