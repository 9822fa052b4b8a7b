// Bodies of ops/logic.h.
#pragma once

#include <cmath>
#include <limits>

#include "atlas/autograd/node.h"
#include "atlas/kernels/functors.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/elementwise-inl.h"
#include "atlas/ops/logic.h"
#include "atlas/ops/reduce_axes-inl.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// x as a boolean tensor.
inline Tensor truth(const Tensor& x, const char* op) {
  check_dtype(x, op, takes::integers | takes::boolean);
  return x.dtype() == boolean ? x : ne(x, 0);
}

/// Maximum is "or", Minimum is "and".
template <class F>
Tensor truth_over(F f, const char* op, const Tensor& x, const Shape& axes, bool keepdim) {
  const NoGrad off;
  const Tensor t = truth(x, op);
  const AxisMask mask = axis_mask(axes, x, op);
  const Shape shape = reduced_shape(x.shape(), mask, keepdim);
  if (x.numel() == 0) return full(shape, std::is_same_v<F, functors::Minimum> ? 1 : 0, boolean, x.device());
  return raw_extreme(f, op, t, mask, shape);
}

inline const Tensor& boolean_operand(const Tensor& x, const char* op) {
  check(x.defined() && x.dtype() == boolean, op,
        "needs bool, got {} (compare first, or call logical_and, logical_or, "
        "logical_xor or logical_not)",
        describe(x));
  return x;
}

}  // namespace detail

ATLAS_INLINE Tensor logical_and(const Tensor& a, const Tensor& b) {
  return detail::binary(functors::Minimum{}, "logical_and", detail::truth(a, "logical_and"),
                        detail::truth(b, "logical_and"));
}
ATLAS_INLINE Tensor logical_or(const Tensor& a, const Tensor& b) {
  return detail::binary(functors::Maximum{}, "logical_or", detail::truth(a, "logical_or"),
                        detail::truth(b, "logical_or"));
}
ATLAS_INLINE Tensor logical_xor(const Tensor& a, const Tensor& b) {
  return detail::binary(functors::NotEqual{}, "logical_xor", detail::truth(a, "logical_xor"),
                        detail::truth(b, "logical_xor"));
}
ATLAS_INLINE Tensor logical_not(const Tensor& x) {
  check_dtype(x, "logical_not", takes::integers | takes::boolean);
  return eq(x, 0);
}

ATLAS_INLINE Tensor any(const Tensor& x, const Shape& axes, bool keepdim) {
  return detail::truth_over(functors::Maximum{}, "any", x, axes, keepdim);
}
ATLAS_INLINE Tensor all(const Tensor& x, const Shape& axes, bool keepdim) {
  return detail::truth_over(functors::Minimum{}, "all", x, axes, keepdim);
}

ATLAS_INLINE Tensor isfinite(const Tensor& x) {
  check(x.defined(), "isfinite", "the operand is undefined");
  if (!is_floating(x.dtype())) return full(x.shape(), 1, boolean, x.device());
  const NoGrad off;
  return lt(abs(computes_as_float(x) ? x : to(x, float32)), std::numeric_limits<double>::infinity());
}

ATLAS_INLINE bool allclose(const Tensor& a, const Tensor& b, double rtol, double atol, bool equal_nan) {
  check(a.defined() && b.defined(), "allclose", "an operand is undefined: {} and {}", describe(a), describe(b));
  broadcast_shapes(a, b, "allclose");
  const NoGrad off;
  const Tensor x = to(a, float64), y = to(b, float64), distance = abs(sub(x, y));
  Tensor close = eq(x, y) | (isfinite(distance) & le(distance, add(mul(abs(y), rtol), atol)));
  if (equal_nan) close = close | (ne(x, x) & ne(y, y));
  return all(close).item<bool>();
}

ATLAS_INLINE Tensor operator&(const Tensor& a, const Tensor& b) {
  return logical_and(detail::boolean_operand(a, "&"), detail::boolean_operand(b, "&"));
}
ATLAS_INLINE Tensor operator|(const Tensor& a, const Tensor& b) {
  return logical_or(detail::boolean_operand(a, "|"), detail::boolean_operand(b, "|"));
}
ATLAS_INLINE Tensor operator^(const Tensor& a, const Tensor& b) {
  return logical_xor(detail::boolean_operand(a, "^"), detail::boolean_operand(b, "^"));
}
ATLAS_INLINE Tensor operator~(const Tensor& x) { return logical_not(detail::boolean_operand(x, "~")); }

}  // namespace atlas::inline ATLAS_ABI
