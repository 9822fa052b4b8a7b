// Reductions over axes: sum, mean.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/axes.h"

namespace atlas::inline ATLAS_ABI {

/// Sum over axes.   dx = dy, repeated along the axes
/// @param x  float32 or float64 (summed in float64), int64, uint8 or bool (summed to int64)
/// @param axes  axis numbers, negative ones from the end; empty means all
/// @param keepdim  keep the summed axes with length 1
/// @return x's shape without the axes; the sum of nothing is 0
/// @throws Error for an axis out of range or given twice; so do all reductions
inline Tensor sum(const Tensor& x, const Shape& axes = {}, bool keepdim = false) {
  check(x.defined(), "sum", "the operand is undefined");
  const detail::AxisMask mask = detail::axis_mask(axes, x.dim(), "sum");
  return record("sum", detail::raw_sum(x, mask, detail::reduced_shape(x.shape(), mask, keepdim)), {x},
                [mask, shape = x.shape()](const Tensor& dy) { return Grads{detail::expand_reduced(dy, shape, mask)}; });
}

/// Mean over axes.   dx = dy / n, repeated along the axes, n being the number of elements of one mean
/// @param x  float32 or float64 (summed in float64)
/// @return as sum(); the mean of nothing is NaN
inline Tensor mean(const Tensor& x, const Shape& axes = {}, bool keepdim = false) {
  check(x.defined(), "mean", "the operand is undefined");
  visit_float(x.dtype(), "mean", [](auto) {});
  const detail::AxisMask mask = detail::axis_mask(axes, x.dim(), "mean");
  const double scale = 1.0 / static_cast<double>(detail::reduced_count(x.shape(), mask));
  return record("mean", detail::raw_sum(x, mask, detail::reduced_shape(x.shape(), mask, keepdim), scale), {x},
                [mask, scale, shape = x.shape()](const Tensor& dy) {
                  return Grads{detail::expand_reduced(mul(dy, scale), shape, mask)};
                });
}

inline Tensor Tensor::sum(Shape axes, bool keepdim) const { return atlas::sum(*this, axes, keepdim); }
inline Tensor Tensor::mean(Shape axes, bool keepdim) const { return atlas::mean(*this, axes, keepdim); }

}  // namespace atlas::inline ATLAS_ABI
