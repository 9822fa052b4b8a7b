// Bodies of ops/reduce.h: reductions made of others.
#pragma once

#include "atlas/ops/logic.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/select.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor logsumexp(const Tensor& x, const Shape& axes, bool keepdim) {
  const char* op = "logsumexp";
  check_float(x, op);
  const detail::AxisMask mask = detail::axis_mask(axes, x, op);
  const Shape shape = detail::reduced_shape(x.shape(), mask, keepdim);
  Tensor y;
  {
    const NoGrad off;
    if (x.numel() == 0) {
      y = full(shape, -std::numeric_limits<double>::infinity(), x.dtype(), x.device());
    } else {
      const Tensor largest = detail::raw_extreme(functors::Maximum{}, op, x, mask, shape);
      const Tensor top = where(isfinite(largest), largest, zeros_like(largest));
      y = add(log(detail::raw_sum(exp(sub(x, detail::expand_reduced(top, x.shape(), mask))), mask, shape)), top);
    }
  }
  return record(op, y, {x}, [mask, sx = Saved(x, op), sy = Saved(y, op)](const Tensor& dy) {
    const Shape& full_shape = sx().shape();
    const Tensor share = exp(sub(sx(), detail::expand_reduced(sy(), full_shape, mask)));
    return Grads{mul(share, detail::expand_reduced(dy, full_shape, mask))};
  });
}

ATLAS_INLINE Tensor norm(const Tensor& x, double p, const Shape& axes, bool keepdim) {
  const char* op = "norm";
  check_float(x, op);
  check(p > 0, op, "p must be above 0, got {}", p);
  if (p == 1) return sum(abs(x), axes, keepdim);
  if (std::isinf(p)) return max(abs(x), axes, keepdim);
  const detail::AxisMask mask = detail::axis_mask(axes, x, op);
  const Shape shape = detail::reduced_shape(x.shape(), mask, keepdim);
  Tensor y;
  {
    const NoGrad off;
    y = pow(detail::raw_sum(p == 2 ? square(x) : pow(abs(x), p), mask, shape), 1 / p);
  }
  return record(op, y, {x}, [mask, p, sx = Saved(x, op), sy = Saved(y, op)](const Tensor& dy) {
    const Shape& full_shape = sx().shape();
    const Tensor total = detail::expand_reduced(sy(), full_shape, mask);
    const Tensor ratio = div(sx(), total);
    // sign(x) |x / y|^(p-1); where x is 0 the power may be infinite, and where y is 0 all is undefined: 0 there.
    const Tensor slope = p == 2 ? ratio : mul(sign(ratio), pow(abs(ratio), p - 1));
    const Tensor dx = mul(slope, detail::expand_reduced(dy, full_shape, mask));
    return Grads{where(eq(p < 1 ? sx() : total, 0), zeros_like(dx), dx)};
  });
}

}  // namespace atlas::inline ATLAS_ABI
