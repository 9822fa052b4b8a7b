// Bodies of ops/index.h.
#pragma once

#include <limits>

#include "atlas/autograd/node.h"
#include "atlas/kernels/compact.h"
#include "atlas/kernels/gather.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/index.h"
#include "atlas/ops/join.h"
#include "atlas/ops/logic.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/select.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// Positions of the true elements of a boolean tensor in its row-major order: int64 [count].
inline Tensor true_positions(const Tensor& mask) {
  const Tensor m = raw_contiguous(mask);
  const int64_t count = m.numel() == 0 ? 0 : atlas::sum(m).item<int64_t>();
  Tensor index = empty({count}, int64, m.device());
  if (count > 0) kernels::true_positions(m, index);
  return index;
}

}  // namespace detail

ATLAS_INLINE Tensor nonzero(const Tensor& x) {
  check_dtype(x, "nonzero", takes::integers | takes::boolean);
  const NoGrad off;
  const Tensor flat = detail::true_positions(x.dtype() == boolean ? x : ne(x, 0));
  Tensor index = empty({flat.numel(), x.dim()}, int64, x.device());
  kernels::unravel(flat, x.shape(), index);
  return index;
}

ATLAS_INLINE Tensor masked_select(const Tensor& x, const Tensor& mask) {
  check(x.defined(), "masked_select", "the operand is undefined");
  detail::check_mask("masked_select", mask, x);
  const Shape shape = broadcast_shapes(x, mask, "masked_select");
  const Tensor index = detail::true_positions(expand(mask, shape));
  const Tensor wide = expand(x, shape);
  const Tensor flat = detail::view_as(detail::raw_contiguous(wide), {shape.numel()});
  Tensor y = empty(index.shape(), x.dtype(), x.device());
  kernels::gather_forward(flat, index, 0, y);
  return record("masked_select", std::move(y), {wide},
                [index = Saved(index, "masked_select"), shape](const Tensor& dy) {
                  Tensor dx = detail::zeros_of(shape, dy);
                  kernels::put(detail::raw_contiguous(dy), index(), dx);
                  return Grads{dx};
                });
}

ATLAS_INLINE Tensor index_add(const Tensor& x, int axis, const Tensor& index, const Tensor& src) {
  const char* op = "index_add";
  check_dtype(x, op, takes::int64);
  axis = normalize_axis(axis, x, op);
  check(index.defined() && index.dtype() == int64 && index.dim() == 1, op, "index must be int64 with one axis, got {}",
        describe(index));
  Shape want = x.shape();
  want[axis] = index.numel();
  check(src.defined() && src.dtype() == x.dtype() && src.shape() == want, op,
        "{} and {} indices along axis {} need src {}{}, got {}", describe(x), index.numel(), axis, name(x.dtype()),
        want, describe(src));
  check(on_cuda(op, x, index, src) == x.device().is_cuda(), op, "operands are on different devices");
  kernels::check_index(index, x.shape()[axis], op);
  Shape one = Shape::filled(x.dim(), 1);
  one[axis] = index.numel();
  const Tensor places = expand(reshape(index, one), want);
  Tensor y = copy_of(x);
  kernels::gather_backward(src, places, axis, y);
  return record(op, std::move(y), {x, src},
                [axis, places = Saved(places, op), needed = src.requires_grad()](const Tensor& dy) {
                  return Grads{dy, needed ? gather(dy, axis, places()) : Tensor()};
                });
}

ATLAS_INLINE Tensor one_hot(const Tensor& x, int64_t classes, DType dtype) {
  check(x.defined() && x.dtype() == int64, "one_hot", "needs int64, got {}", describe(x));
  check(classes >= -1, "one_hot", "the number of classes is {}, needs at least 0 (or -1: one more than the largest)",
        classes);
  if (classes < 0) {
    check(x.numel() > 0, "one_hot", "{} has no largest class: say how many there are", describe(x));
    const int64_t largest = max(x).item<int64_t>();
    check(largest < std::numeric_limits<int64_t>::max(), "one_hot", "class {} is too large: no number is above it",
          largest);
    classes = largest + 1;
  }
  kernels::check_index(x, classes, "one_hot");
  return to(eq(unsqueeze(x, -1), to(arange(classes), x.device())), dtype);
}

ATLAS_INLINE Tensor flip(const Tensor& x, const Shape& axes) {
  check(x.defined(), "flip", "the operand is undefined");
  if (axes.empty()) return x;
  const detail::AxisMask mask = detail::axis_mask(axes, x, "flip");
  Tensor y = x.detach();
  for (int axis = 0; axis < x.dim(); ++axis) {
    if (!mask[static_cast<size_t>(axis)]) continue;
    const int64_t n = x.shape()[axis];
    Shape one = Shape::filled(x.dim(), 1);
    one[axis] = n;
    const Tensor backwards = to(arange(n - 1, int64_t{-1}, int64_t{-1}), x.device());
    Tensor flipped = empty(x.shape(), x.dtype(), x.device());
    kernels::gather_forward(y, expand(reshape(backwards, one), x.shape()), axis, flipped);
    y = std::move(flipped);
  }
  return record("flip", std::move(y), {x}, [axes](const Tensor& dy) { return Grads{flip(dy, axes)}; });
}

}  // namespace atlas::inline ATLAS_ABI
