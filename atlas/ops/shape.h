// Views: the same storage seen with another shape. Nothing is copied (reshape copies when the strides leave no choice),
// every argument is checked, every view is differentiable.
#pragma once

#include <initializer_list>
#include <limits>
#include <vector>

#include "atlas/ops/cast.h"

namespace atlas::inline ATLAS_ABI {

/// As `end` of slice(): up to the end of the axis.
inline constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

namespace detail {

Tensor zeros_of(const Shape& shape, const Tensor& like);

}  // namespace detail

/// y = the elements of x in row-major order under another shape. Copies only when x's strides leave no choice.
/// @param x      any shape and dtype
/// @param shape  as many elements as x; one length may be -1 and is inferred
/// @throws Error when the number of elements differs.
Tensor reshape(const Tensor& x, const Shape& shape);

/// y[i0, i1, ..] = x with its axes reordered: axis k of y is axis axes[k] of x.
/// @param axes  each axis of x once; negative ones count from the end
Tensor permute(const Tensor& x, const Shape& axes);

/// y = x with axes a and b exchanged; negative axes count from the end.
Tensor transpose(const Tensor& x, int a, int b);

/// y = x[..., begin:end:step, ...] along one axis.
/// @param begin  first index, in [-n, n]; negative ones count from the end
/// @param end    one past the last index, in [-n, n], not before begin; kEnd is the end of the axis
/// @param step   at least 1
/// @throws Error when begin or end lie outside the axis.
Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end, int64_t step = 1);

/// y = x[..., index, ...]: one index of an axis, which disappears.
/// @param index  in [-n, n); negative ones count from the end
Tensor select(const Tensor& x, int axis, int64_t index);

/// y = x repeated along axes of length 1 (and new axes in front) without copying: the repeated axes get stride 0.
/// @param shape  lengths to reach; -1 keeps the length of an axis of x
/// @throws Error when an axis longer than 1 would have to change.
Tensor expand(const Tensor& x, Shape shape);

/// y = x without one axis of length 1.
/// @throws Error when the axis is longer.
Tensor squeeze(const Tensor& x, int axis);

/// y = x with a new axis of length 1 at position `axis` of y; negative ones count from the end of y's axes.
Tensor unsqueeze(const Tensor& x, int axis);

/// y = x with axes from..to (inclusive) joined to one.
Tensor flatten(const Tensor& x, int from = 0, int to = -1);

/// Consecutive slices of an axis.
/// @param sizes  their lengths; they add up to the length of the axis
/// @return as many views of x
std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int axis = 0);
inline std::vector<Tensor> split(const Tensor& x, std::initializer_list<int64_t> sizes, int axis = 0) {
  return split(x, std::vector<int64_t>(sizes), axis);
}
/// Slices of one length (at least 1); the last is what remains.
std::vector<Tensor> split(const Tensor& x, int64_t size, int axis = 0);

/// n slices of equal length of an axis.
/// @throws Error when n does not divide the length.
std::vector<Tensor> chunk(const Tensor& x, int64_t n, int axis = 0);

/// Sliding windows of an axis: y[..., i, ..., j] = x[..., i * step + j, ...], without copying.
/// @param size  length of a window, at most the length of the axis: it becomes the last axis of y
/// @param step  distance of two windows, at least 1
Tensor unfold(const Tensor& x, int axis, int64_t size, int64_t step);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/shape-inl.h"
#endif
