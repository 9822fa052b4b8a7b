// Reductions over axes: sum, mean, max, min, var, logsumexp, norm; any and all are in ops/logic.h. ops/order.h,
// included here, has argmax, topk and cumsum.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/order.h"

namespace atlas::inline ATLAS_ABI {

/// Sum over axes.   dx = dy, repeated along the axes
/// @param x  float32 or float64 (summed in float64), int64, uint8 or bool (summed to int64)
/// @param axes  an axis or several, {0, 2}; negative ones count from the end; empty means all
/// @param keepdim  keep the summed axes with length 1
/// @return x's shape without the axes; the sum of nothing is 0
/// @throws Error for an axis out of range or given twice; so do all reductions
inline Tensor sum(const Tensor& x, const Shape& axes = {}, bool keepdim = false) {
  check(x.defined(), "sum", "the operand is undefined");
  const detail::AxisMask mask = detail::axis_mask(axes, x, "sum");
  return record("sum", detail::raw_sum(x, mask, detail::reduced_shape(x.shape(), mask, keepdim)), {x},
                [mask, shape = x.shape()](const Tensor& dy) { return Grads{detail::expand_reduced(dy, shape, mask)}; });
}

/// Mean over axes.   dx = dy / n, repeated along the axes, n being the number of elements of one mean
/// @param x  float32 or float64 (summed in float64)
/// @return as sum(); the mean of nothing is NaN
inline Tensor mean(const Tensor& x, const Shape& axes = {}, bool keepdim = false) {
  check(x.defined(), "mean", "the operand is undefined");
  check_float(x, "mean");
  const detail::AxisMask mask = detail::axis_mask(axes, x, "mean");
  const double scale = 1.0 / static_cast<double>(detail::reduced_count(x.shape(), mask));
  return record("mean", detail::raw_sum(x, mask, detail::reduced_shape(x.shape(), mask, keepdim), scale), {x},
                [mask, scale, shape = x.shape()](const Tensor& dy) {
                  return Grads{detail::expand_reduced(mul(dy, scale), shape, mask)};
                });
}

namespace detail {

template <class F>
Tensor extreme(F f, const char* op, const Tensor& x, const Shape& axes, bool keepdim) {
  check(x.defined(), op, "the operand is undefined");
  const AxisMask mask = axis_mask(axes, x, op);
  Tensor y = raw_extreme(f, op, x, mask, reduced_shape(x.shape(), mask, keepdim));
  if (!needs_record({x})) return y;
  return record(op, y, {x}, [mask, op, sx = Saved(x, op), sy = Saved(y, op)](const Tensor& dy) {
    // Ties share the gradient equally.
    const Tensor same = binary(functors::Same{}, op, sx(), expand_reduced(sy(), sx().shape(), mask));
    const Tensor share = div(dy, raw_sum(same, mask, dy.shape()));
    return Grads{mul(same, expand_reduced(share, sx().shape(), mask))};
  });
}

/// x minus its mean over the axes, outside the graph. Twice: the mean as a number of x's type is off by up to half of
/// its last digit, which is much when x lies close around a large mean.
inline Tensor centered(const Tensor& x, const AxisMask& mask) {
  const double scale = 1.0 / static_cast<double>(reduced_count(x.shape(), mask));
  Tensor y = x;
  for (int i = 0; i < 2; ++i)
    y = binary(functors::Sub{}, "var", y, raw_sum(y, mask, reduced_shape(x.shape(), mask, true), scale));
  return y;
}

}  // namespace detail

/// Largest element over axes; NaN if there is one.   dx = dy at the largest, shared equally among equals
/// @param x  float32, float64, int64, uint8 or bool
/// @param axes  an axis or several, {0, 2}; negative ones count from the end; empty means all
/// @param keepdim  keep the reduced axes with length 1
/// @return x's shape without the axes
/// @throws Error as sum(), and when there are no elements to choose from
inline Tensor max(const Tensor& x, const Shape& axes = {}, bool keepdim = false) {
  return detail::extreme(functors::Maximum{}, "max", x, axes, keepdim);
}

/// Smallest element over axes; NaN if there is one. Everything else as max().
inline Tensor min(const Tensor& x, const Shape& axes = {}, bool keepdim = false) {
  return detail::extreme(functors::Minimum{}, "min", x, axes, keepdim);
}

/// Variance over axes: sum of (x - mean)^2 / (n - 1), or / n.   dx = 2 (x - mean) dy / (n - 1), or / n
/// @param x  float32 or float64 (summed in float64)
/// @param axes  an axis or several, {0, 2}; negative ones count from the end; empty means all
/// @param keepdim  keep the reduced axes with length 1
/// @param unbiased  divide by n - 1 (n: the number of elements of one variance) instead of n
/// @return x's shape without the axes; NaN when n - 1 (or n) is not positive
inline Tensor var(const Tensor& x, const Shape& axes = {}, bool keepdim = false, bool unbiased = true) {
  check(x.defined(), "var", "the operand is undefined");
  check_float(x, "var");
  const detail::AxisMask mask = detail::axis_mask(axes, x, "var");
  const int64_t freedom = detail::reduced_count(x.shape(), mask) - (unbiased ? 1 : 0);
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(freedom, 0));
  Tensor y;
  {
    NoGrad off;
    y = detail::raw_sum(square(detail::centered(x, mask)), mask, detail::reduced_shape(x.shape(), mask, keepdim),
                        scale);
  }
  return record("var", y, {x}, [mask, scale, sx = Saved(x, "var")](const Tensor& dy) {
    const Tensor weight = mul(detail::centered(sx(), mask), 2 * scale);
    return Grads{mul(weight, detail::expand_reduced(dy, sx().shape(), mask))};
  });
}

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

inline Tensor Tensor::sum(Shape axes, bool keepdim) const { return atlas::sum(*this, axes, keepdim); }
inline Tensor Tensor::mean(Shape axes, bool keepdim) const { return atlas::mean(*this, axes, keepdim); }

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/reduce-inl.h"
#endif
