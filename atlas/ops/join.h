// Ops that put tensors together or pick parts of them, with a copy: cat, stack, pad, repeat_interleave, gather,
// index_select.
#pragma once

#include <vector>

#include "atlas/ops/shape.h"

namespace atlas::inline ATLAS_ABI {

/// Tensors one after the other along an existing axis.
/// @param tensors  at least one; the same dtype, and the same lengths on all other axes
/// @param axis     negative ones count from the end
/// @throws Error naming the tensor and the axis that do not fit.
Tensor cat(const std::vector<Tensor>& tensors, int axis = 0);

/// Tensors of one shape side by side along a new axis.
/// @param axis  position of the new axis in the result; negative ones count from its end
/// @throws Error when shapes, dtypes or devices differ.
Tensor stack(const std::vector<Tensor>& tensors, int axis = 0);

/// x with `value` around it.
/// @param before, after  how many elements to add at both ends of each axis, at least 0; one entry per axis of x
/// @return shape[i] = before[i] + x.shape[i] + after[i]
/// @throws Error for another number of entries, for a negative one, and for a value that x's dtype cannot hold.
Tensor pad(const Tensor& x, const Shape& before, const Shape& after, double value = 0);

/// Each index of an axis n times in a row: y[.., i * n + j, ..] = x[.., i, ..].
/// @param n  at least 0
Tensor repeat_interleave(const Tensor& x, int64_t n, int axis);

/// y[.., k, ..] = x[.., index[.., k, ..], ..]: along one axis, each place picks its own element.
///
/// Backward adds dy into dx in the order of k, so repeated indices give the same sum every time.
/// @param x      any shape and dtype; gradients for float32 and float64
/// @param index  int64, as many axes as x, no longer than x on the axes other than `axis`; values in [0, x.shape[axis])
/// @return a tensor of index's shape and x's dtype
/// @throws Error when index does not fit x, and (on the CPU) for a value outside the range.
Tensor gather(const Tensor& x, int axis, const Tensor& index);

/// y = x at the given indices of one axis: y[.., k, ..] = x[.., index[k], ..].
/// @param index  int64[K], values in [0, x.shape[axis]); may repeat
/// @return shape of x with length K on `axis`
/// @throws Error as gather().
Tensor index_select(const Tensor& x, int axis, const Tensor& index);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/join-inl.h"
#endif
