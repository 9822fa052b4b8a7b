// Bodies of join.h.
#pragma once

#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/kernels/gather.h"
#include "atlas/ops/join.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor cat(const std::vector<Tensor>& tensors, int axis) {
  check(!tensors.empty(), "cat", "needs at least one tensor");
  const Tensor& first = tensors.front();
  axis = normalize_axis(axis, first, "cat");
  Shape shape = first.shape();
  std::vector<int64_t> sizes;
  int64_t total = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& t = tensors[i];
    check(t.dtype() == first.dtype() && t.device() == first.device() && t.dim() == first.dim(), "cat",
          "tensor {} is {}, tensor 0 is {}: dtype, device and number of axes must agree", i, describe(t),
          describe(first));
    for (int a = 0; a < t.dim(); ++a)
      check(a == axis || t.shape()[a] == shape[a], "cat",
            "tensor {} is {}, tensor 0 is {}: axis {} differs (joining along axis {})", i, describe(t), describe(first),
            a, axis);
    sizes.push_back(t.shape()[axis]);
    check(!__builtin_add_overflow(total, sizes.back(), &total), "cat", "axis {} becomes longer than 64 bits", axis);
  }
  shape[axis] = total;
  Tensor y = empty(shape, first.dtype(), first.device());
  for (int64_t i = 0, begin = 0; i < static_cast<int64_t>(tensors.size()); ++i) {
    const size_t k = static_cast<size_t>(i);
    Tensor part = slice(y, axis, begin, begin + sizes[k]);
    copy_elements(part, tensors[k]);
    begin += sizes[k];
  }
  // Each input's gradient is its slice of dy, a view.
  return record("cat", std::move(y), tensors, [axis, sizes](const Tensor& dy) { return split(dy, sizes, axis); });
}

ATLAS_INLINE Tensor stack(const std::vector<Tensor>& tensors, int axis) {
  check(!tensors.empty(), "stack", "needs at least one tensor");
  axis = normalize_axis(axis, tensors.front().dim() + 1, "stack");
  std::vector<Tensor> rows;
  rows.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    check(tensors[i].shape() == tensors[0].shape() && tensors[i].dtype() == tensors[0].dtype() &&
              tensors[i].device() == tensors[0].device(),
          "stack", "tensor {} is {}, tensor 0 is {}: shape, dtype and device must agree", i, describe(tensors[i]),
          describe(tensors[0]));
    rows.push_back(unsqueeze(tensors[i], axis));
  }
  return cat(rows, axis);
}

ATLAS_INLINE Tensor pad(const Tensor& x, const Shape& before, const Shape& after, double value) {
  detail::check_number("pad", x, value);
  check(before.size() == x.dim() && after.size() == x.dim(), "pad", "needs one entry per axis of {}, got {} and {}",
        describe(x), before, after);
  Shape shape = x.shape();
  bool any = false;
  for (int i = 0; i < x.dim(); ++i) {
    check(before[i] >= 0 && after[i] >= 0, "pad", "cannot add {} and {} elements to axis {} of {} (use slice to cut)",
          before[i], after[i], i, describe(x));
    check(!__builtin_add_overflow(shape[i], before[i], &shape[i]) &&
              !__builtin_add_overflow(shape[i], after[i], &shape[i]),
          "pad", "axis {} becomes longer than 64 bits", i);
    any = any || before[i] != 0 || after[i] != 0;
  }
  if (!any) return x;
  const auto inside = [before, from = x.shape()](Tensor t) {
    for (int i = 0; i < from.size(); ++i)
      if (t.shape()[i] != from[i]) t = slice(t, i, before[i], before[i] + from[i]);
    return t;
  };
  Tensor y = empty(shape, x.dtype(), x.device());
  fill_elements(y, value);
  Tensor middle = inside(y);
  copy_elements(middle, x);
  return record("pad", std::move(y), {x}, [inside](const Tensor& dy) { return Grads{inside(dy)}; });
}

ATLAS_INLINE Tensor repeat_interleave(const Tensor& x, int64_t n, int axis) {
  check(n >= 0, "repeat_interleave", "the number of repetitions must not be negative, got {}", n);
  axis = normalize_axis(axis, x, "repeat_interleave");
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < axis; ++i) outer *= x.shape()[i];
  for (int i = axis + 1; i < x.dim(); ++i) inner *= x.shape()[i];
  const int64_t length = x.shape()[axis];
  Shape shape = x.shape();
  check(!__builtin_mul_overflow(length, n, &shape[axis]), "repeat_interleave", "axis {} becomes longer than 64 bits",
        axis);
  return reshape(expand(reshape(x, {outer, length, 1, inner}), {outer, length, n, inner}), shape);
}

ATLAS_INLINE Tensor gather(const Tensor& x, int axis, const Tensor& index) {
  axis = normalize_axis(axis, x, "gather");
  check(index.dtype() == int64 && index.dim() == x.dim(), "gather",
        "index must be int64 with as many axes as x: got {} for {}", describe(index), describe(x));
  for (int i = 0; i < x.dim(); ++i)
    check(i == axis || index.shape()[i] <= x.shape()[i], "gather", "index {} is longer than x {} on axis {}",
          describe(index), describe(x), i);
  kernels::check_index(index, x.shape()[axis], "gather");
  Tensor y = empty(index.shape(), x.dtype(), x.device());
  kernels::gather_forward(x, index, axis, y);
  return record("gather", std::move(y), {x},
                [axis, index = Saved(index, "gather"), from = x.shape()](const Tensor& dy) {
                  Tensor dx = detail::zeros_of(from, dy);
                  kernels::gather_backward(dy, index(), axis, dx);
                  return Grads{dx};
                });
}

ATLAS_INLINE Tensor index_select(const Tensor& x, int axis, const Tensor& index) {
  axis = normalize_axis(axis, x, "index_select");
  check(index.dtype() == int64 && index.dim() == 1, "index_select", "index must be int64 with one axis, got {}",
        describe(index));
  kernels::check_index(index, x.shape()[axis], "index_select");
  Shape one = Shape::filled(x.dim(), 1), shape = x.shape();
  one[axis] = shape[axis] = index.numel();
  return gather(x, axis, expand(reshape(index, one), shape));
}

}  // namespace atlas::inline ATLAS_ABI
