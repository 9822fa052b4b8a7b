// Ops along one axis that find or keep positions: argmax, topk, sort, cumsum.
#pragma once

#include <utility>

#include "atlas/ops/axes.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// Product of the axis lengths after `axis`.
int64_t inner_count(const Shape& shape, int axis);

}  // namespace detail

/// Position of the largest element along an axis; the first among equals, NaN counting as largest. No gradient.
/// @param x  float32, float64, int64, uint8 or bool
/// @param axis  which axis; negative ones count from the end
/// @param keepdim  keep the axis with length 1
/// @return int64, x's shape without the axis
/// @throws Error for an axis out of range or of length 0
Tensor argmax(const Tensor& x, int axis = -1, bool keepdim = false);

/// The k largest elements along an axis, largest first, and their positions; NaN before all, the earlier first among
/// equals.   dx = dy at the positions, 0 elsewhere
/// @param x  float32, float64, int64 or uint8
/// @param k  0 <= k <= length of the axis
/// @param axis  which axis; negative ones count from the end
/// @return {values, positions (int64)}, x's shape with k in place of the axis' length
/// @throws Error for an axis or a k out of range
std::pair<Tensor, Tensor> topk(const Tensor& x, int64_t k, int axis = -1);

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
Tensor cumsum(const Tensor& x, int axis);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/order-inl.h"
#endif
