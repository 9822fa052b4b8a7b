// Reductions over axes: sum, mean, max, min, var, logsumexp, norm; any and all are in ops/logic.h. ops/order.h,
// included here, has argmax, topk and cumsum.
#pragma once

#include "atlas/ops/order.h"

namespace atlas::inline ATLAS_ABI {

/// Sum over axes.   dx = dy, repeated along the axes
/// @param x  float32 or float64 (summed in float64), int64, uint8 or bool (summed to int64)
/// @param axes  an axis or several, {0, 2}; negative ones count from the end; empty means all
/// @param keepdim  keep the summed axes with length 1
/// @return x's shape without the axes; the sum of nothing is 0
/// @throws Error for an axis out of range or given twice; so do all reductions
Tensor sum(const Tensor& x, const Shape& axes = {}, bool keepdim = false);

/// Mean over axes.   dx = dy / n, repeated along the axes, n being the number of elements of one mean
/// @param x  float32 or float64 (summed in float64)
/// @return as sum(); the mean of nothing is NaN
Tensor mean(const Tensor& x, const Shape& axes = {}, bool keepdim = false);

namespace detail {}  // namespace detail

/// Largest element over axes; NaN if there is one. Of two tensors, max(a, b) is maximum(a, b) (ops/arithmetic.h).
/// dx = dy at the largest, shared equally among equals
/// @param x  float32, float64, int64, uint8 or bool
/// @param axes  an axis or several, {0, 2}; negative ones count from the end; empty means all
/// @param keepdim  keep the reduced axes with length 1
/// @return x's shape without the axes
/// @throws Error as sum(), and when there are no elements to choose from
Tensor max(const Tensor& x, const Shape& axes = {}, bool keepdim = false);

/// Smallest element over axes; NaN if there is one. Everything else as max().
Tensor min(const Tensor& x, const Shape& axes = {}, bool keepdim = false);

/// Variance over axes: sum of (x - mean)^2 / (n - 1), or / n.   dx = 2 (x - mean) dy / (n - 1), or / n
/// @param x  float32 or float64 (summed in float64)
/// @param axes  an axis or several, {0, 2}; negative ones count from the end; empty means all
/// @param keepdim  keep the reduced axes with length 1
/// @param unbiased  divide by n - 1 (n: the number of elements of one variance) instead of n
/// @return x's shape without the axes; NaN when n - 1 (or n) is not positive
Tensor var(const Tensor& x, const Shape& axes = {}, bool keepdim = false, bool unbiased = true);

/// log of the sum of e^x over axes, without overflow.   dx = dy e^(x - y)
/// @param x  float32 or float64
/// @return as sum(); -inf for nothing
ATLAS_INLINE Tensor logsumexp(const Tensor& x, const Shape& axes = {}, bool keepdim = false);

/// The p-norm over axes: (sum of |x|^p)^(1/p); the largest |x| for p = infinity.   dx = dy sign(x) (|x| / y)^(p-1), 0
/// where y is 0; for p = infinity shared among the largest
/// @param x  float32 or float64
/// @param p  above 0
/// @return as sum()
/// @throws Error when p is not above 0
ATLAS_INLINE Tensor norm(const Tensor& x, double p = 2, const Shape& axes = {}, bool keepdim = false);

// One axis by its number: sum(x, 0) is sum(x, {0}).
#define ATLAS_REDUCE_ONE_AXIS(name)                             \
  template <AxisNumber A>                                       \
  Tensor name(const Tensor& x, A axis, bool keepdim = false) {  \
    return name(x, Shape{static_cast<int64_t>(axis)}, keepdim); \
  }
ATLAS_REDUCE_ONE_AXIS(sum)
ATLAS_REDUCE_ONE_AXIS(mean)
ATLAS_REDUCE_ONE_AXIS(max)
ATLAS_REDUCE_ONE_AXIS(min)
ATLAS_REDUCE_ONE_AXIS(logsumexp)
#undef ATLAS_REDUCE_ONE_AXIS
template <AxisNumber A>
Tensor var(const Tensor& x, A axis, bool keepdim = false, bool unbiased = true) {
  return var(x, Shape{static_cast<int64_t>(axis)}, keepdim, unbiased);
}
template <AxisNumber A>
Tensor norm(const Tensor& x, double p, A axis, bool keepdim = false) {
  return norm(x, p, Shape{static_cast<int64_t>(axis)}, keepdim);
}

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/reduce-inl.h"
#endif
