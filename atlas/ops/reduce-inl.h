// Bodies of ops/reduce.h: reductions made of others.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/kernels/functors.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/elementwise-inl.h"
#include "atlas/ops/logic.h"
#include "atlas/ops/order.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/reduce_axes-inl.h"
#include "atlas/ops/select.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor sum(const Tensor& x, const Shape& axes, bool keepdim) {
  check(x.defined(), "sum", "the operand is undefined");
  const detail::AxisMask mask = detail::axis_mask(axes, x, "sum");
  return record("sum", detail::raw_sum(x, mask, detail::reduced_shape(x.shape(), mask, keepdim)), {x},
                [mask, shape = x.shape()](const Tensor& dy) { return Grads{detail::expand_reduced(dy, shape, mask)}; });
}

ATLAS_INLINE Tensor mean(const Tensor& x, const Shape& axes, bool keepdim) {
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

ATLAS_INLINE Tensor max(const Tensor& x, const Shape& axes, bool keepdim) {
  return detail::extreme(functors::Maximum{}, "max", x, axes, keepdim);
}

ATLAS_INLINE Tensor min(const Tensor& x, const Shape& axes, bool keepdim) {
  return detail::extreme(functors::Minimum{}, "min", x, axes, keepdim);
}

ATLAS_INLINE Tensor var(const Tensor& x, const Shape& axes, bool keepdim, bool unbiased) {
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

ATLAS_INLINE Tensor Tensor::sum(Shape axes, bool keepdim) const { return atlas::sum(*this, axes, keepdim); }

ATLAS_INLINE Tensor Tensor::mean(Shape axes, bool keepdim) const { return atlas::mean(*this, axes, keepdim); }

}  // namespace atlas::inline ATLAS_ABI

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
  return record(op, y, {x}, [op, mask, sx = Saved(x, op), sy = Saved(y, op)](const Tensor& dy) {
    const Shape& full_shape = sx().shape();
    // Softmax: x - y would carry y's rounding, which is that of the offset; the largest x is subtracted exactly.
    if (full_shape.numel() == 0) return Grads{zeros_like(sx())};
    const Tensor largest = detail::raw_extreme(functors::Maximum{}, op, sx(), mask, sy().shape());
    const Tensor top = where(isfinite(largest), largest, zeros_like(largest));
    const Tensor part = exp(sub(sx(), detail::expand_reduced(top, full_shape, mask)));
    const Tensor all = detail::raw_sum(part, mask, sy().shape());
    const Tensor share = div(part, detail::expand_reduced(all, full_shape, mask));
    return Grads{mul(share, detail::expand_reduced(dy, full_shape, mask))};
  });
}

ATLAS_INLINE Tensor norm(const Tensor& x, double p, const Shape& axes, bool keepdim) {
  const char* op = "norm";
  check_float(x, op);
  check(p > 0, op, "p must be above 0, got {}", p);
  const detail::AxisMask mask = detail::axis_mask(axes, x, op);
  if (p == 1) return sum(abs(x), axes, keepdim);
  if (std::isinf(p)) return detail::extreme(functors::Maximum{}, op, abs(x), axes, keepdim);
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
