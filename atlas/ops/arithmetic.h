// Arithmetic with broadcasting: + - * /, maximum, minimum, and sum_to, which undoes broadcasting in gradients.
//
// Shapes broadcast as in NumPy; operands have one dtype and one device (bool takes the type of the other operand; on
// CUDA devices bfloat16 and float32 give float32); a C++ number takes the tensor's dtype.
#pragma once

#include <cmath>
#include <limits>
#include <utility>

#include "atlas/kernels/binary.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/strided.h"

namespace atlas::inline ATLAS_ABI {

/// Sums x over the axes along which a tensor of `shape` was stretched to x's shape: the gradient of broadcasting.
/// @param x  float32, float64 or int64, of a shape that `shape` broadcasts to
/// @return a tensor of `shape`; x itself when that is its shape
/// @throws Error when `shape` does not broadcast to x's shape
inline Tensor sum_to(const Tensor& x, const Shape& shape) {
  check(x.defined(), "sum_to", "the operand is undefined");
  if (x.shape() == shape) return x;
  check(shape.size() <= x.dim() && broadcast_shapes(x.shape(), shape, "sum_to") == x.shape(), "sum_to",
        "shape {} does not broadcast to that of {}", shape, describe(x));
  return record("sum_to", detail::raw_sum_to(x, shape), {x}, [from = shape, to = x.shape()](const Tensor& dy) {
    return Grads{raw_view(dy, to, broadcast_strides(from, dy.strides(), to), dy.offset())};
  });
}

/// a + b.   da = dy, db = dy, each summed to its operand's shape
/// @param a,b  float32, float64, int64 or uint8 (which wraps); shapes that broadcast
/// @return a tensor of the broadcast shape
/// @throws Error when dtypes or devices differ or shapes do not broadcast; so do all functions of two tensors here
inline Tensor add(const Tensor& a, const Tensor& b) {
  if (detail::mixed(a, b)) return add(to(a, detail::common_dtype(a, b)), to(b, detail::common_dtype(a, b)));
  Tensor y = detail::binary(functors::Add{}, "add", a, b);
  return record("add", y, {a, b},
                [as = a.shape(), bs = b.shape(), na = a.requires_grad(), nb = b.requires_grad()](const Tensor& dy) {
                  return Grads{na ? sum_to(dy, as) : Tensor(), nb ? sum_to(dy, bs) : Tensor()};
                });
}

/// a + b, in b's memory when nothing is recorded and nobody else holds it: residual branches of inference then need
/// none of their own. The same numbers as add(a, b).
inline Tensor add(const Tensor& a, Tensor&& b) {
  const bool here = !grad_enabled() && a.defined() && detail::solely_owned(b) && !b.requires_grad() &&
                    a.shape() == b.shape() && a.dtype() == b.dtype() && a.device() == b.device();
  if (!here) return add(a, std::as_const(b));
  b.add_(a);
  return std::move(b);
}

/// a - b.   da = dy, db = -dy
inline Tensor sub(const Tensor& a, const Tensor& b) {
  if (detail::mixed(a, b)) return sub(to(a, detail::common_dtype(a, b)), to(b, detail::common_dtype(a, b)));
  Tensor y = detail::binary(functors::Sub{}, "sub", a, b);
  return record("sub", y, {a, b},
                [as = a.shape(), bs = b.shape(), na = a.requires_grad(), nb = b.requires_grad()](const Tensor& dy) {
                  return Grads{na ? sum_to(dy, as) : Tensor(), nb ? neg(sum_to(dy, bs)) : Tensor()};
                });
}

/// a b, element by element; also of two boolean tensors, which is their logical_and.   da = dy b, db = dy a
inline Tensor mul(const Tensor& a, const Tensor& b) {
  if (detail::mixed(a, b)) return mul(to(a, detail::common_dtype(a, b)), to(b, detail::common_dtype(a, b)));
  Tensor y = detail::binary(functors::Mul{}, "mul", a, b);
  if (!needs_record({a, b})) return y;
  // Each operand is kept only for the gradient of the other.
  return record("mul", y, {a, b},
                [as = a.shape(), bs = b.shape(), na = a.requires_grad(), nb = b.requires_grad(),
                 sa = b.requires_grad() ? Saved(a, "mul") : Saved(),
                 sb = a.requires_grad() ? Saved(b, "mul") : Saved()](const Tensor& dy) {
                  return Grads{na ? sum_to(mul(dy, sb()), as) : Tensor(), nb ? sum_to(mul(dy, sa()), bs) : Tensor()};
                });
}

/// a / b (float32 and float64).   da = dy / b, db = -dy (a / b) / b
inline Tensor div(const Tensor& a, const Tensor& b) {
  if (detail::mixed(a, b)) return div(to(a, detail::common_dtype(a, b)), to(b, detail::common_dtype(a, b)));
  Tensor y = detail::binary(functors::Div{}, "div", a, b);
  if (!needs_record({a, b})) return y;
  return record(
      "div", y, {a, b},
      [as = a.shape(), bs = b.shape(), na = a.requires_grad(), nb = b.requires_grad(),
       sa = b.requires_grad() ? Saved(a, "div") : Saved(), sb = Saved(b, "div")](const Tensor& dy) {
        const Tensor da = div(dy, sb());
        return Grads{na ? sum_to(da, as) : Tensor(), nb ? neg(sum_to(mul(da, div(sa(), sb())), bs)) : Tensor()};
      });
}

namespace detail {

/// maximum(a, b), or minimum: the gradient goes to the chosen operand, by halves on a tie.
template <class F>
Tensor extreme_of_two(F f, const Tensor& a, const Tensor& b) {
  if (mixed(a, b)) return extreme_of_two(f, to(a, common_dtype(a, b)), to(b, common_dtype(a, b)));
  Tensor y = binary(f, F::kName, a, b);
  if (!needs_record({a, b})) return y;
  return record(F::kName, y, {a, b},
                [na = a.requires_grad(), nb = b.requires_grad(), sa = Saved(a, F::kName),
                 sb = Saved(b, F::kName)](const Tensor& dy) {
                  constexpr bool kMax = std::is_same_v<F, functors::Maximum>;
                  const Tensor &p = sa(), &q = sb();
                  const auto share = [&](const Tensor& u, const Tensor& v, const Tensor& to) {
                    return sum_to(mul(dy, binary(functors::MaximumShare{}, F::kName, kMax ? u : v, kMax ? v : u)),
                                  to.shape());
                  };
                  return Grads{na ? share(p, q, p) : Tensor(), nb ? share(q, p, q) : Tensor()};
                });
}

/// f(a, s) or f(s, a) with a number, outside the graph.
template <class F>
Tensor binary_number(F f, const char* op, const Tensor& a, double s, bool scalar_first = false) {
  check_dtype(a, op, F::kIntegers ? takes::integers : 0);
  check_number(op, a, s);
  Tensor y = empty_like(a);
  kernels::binary_scalar(f, a, s, scalar_first, y);
  return y;
}

}  // namespace detail

/// The larger of a and b, NaN if either is; any numbers, or bool. The gradient goes to the larger, by halves on a tie.
inline Tensor maximum(const Tensor& a, const Tensor& b) { return detail::extreme_of_two(functors::Maximum{}, a, b); }
/// The smaller of a and b, NaN if either is; any numbers, or bool. The gradient goes to the smaller, by halves on a
/// tie.
inline Tensor minimum(const Tensor& a, const Tensor& b) { return detail::extreme_of_two(functors::Minimum{}, a, b); }

// ---- with numbers --------------------------------------------------------------------------------------------------

/// a + s.
/// @throws Error for an integer tensor and a number that its dtype cannot hold; so do all functions of a number here
inline Tensor add(const Tensor& a, double s) {
  return record("add", detail::binary_number(functors::Add{}, "add", a, s), {a},
                [](const Tensor& dy) { return Grads{dy}; });
}
inline Tensor add(double s, const Tensor& a) { return add(a, s); }

/// a - s.
inline Tensor sub(const Tensor& a, double s) {
  return record("sub", detail::binary_number(functors::Sub{}, "sub", a, s), {a},
                [](const Tensor& dy) { return Grads{dy}; });
}
/// s - a.   da = -dy
inline Tensor sub(double s, const Tensor& a) {
  return record("sub", detail::binary_number(functors::Sub{}, "sub", a, s, true), {a},
                [](const Tensor& dy) { return Grads{neg(dy)}; });
}

/// a s.   da = dy s
inline Tensor mul(const Tensor& a, double s) {
  return record("mul", detail::binary_number(functors::Mul{}, "mul", a, s), {a},
                [s](const Tensor& dy) { return Grads{mul(dy, s)}; });
}
inline Tensor mul(double s, const Tensor& a) { return mul(a, s); }

/// a / s (float32 and float64).   da = dy / s
inline Tensor div(const Tensor& a, double s) {
  return record("div", detail::binary_number(functors::Div{}, "div", a, s), {a},
                [s](const Tensor& dy) { return Grads{div(dy, s)}; });
}
/// s / a (float32 and float64).   da = -dy (s / a) / a
inline Tensor div(double s, const Tensor& a) {
  Tensor y = detail::binary_number(functors::Div{}, "div", a, s, true);
  if (!needs_record({a})) return y;
  return record("div", y, {a}, [sa = Saved(a, "div"), sy = Saved(y, "div")](const Tensor& dy) {
    return Grads{neg(mul(dy, div(sy(), sa())))};
  });
}

/// The larger of a and s; floats, int64 and uint8.   da = dy where a >= s
inline Tensor maximum(const Tensor& a, double s) {
  return detail::clamped("maximum", a, s, std::numeric_limits<double>::infinity());
}
inline Tensor maximum(double s, const Tensor& a) { return maximum(a, s); }
/// The smaller of a and s; floats, int64 and uint8.   da = dy where a <= s
inline Tensor minimum(const Tensor& a, double s) {
  return detail::clamped("minimum", a, -std::numeric_limits<double>::infinity(), s);
}
inline Tensor minimum(double s, const Tensor& a) { return minimum(a, s); }

/// a^b of two tensors, element by element; also int64 and uint8 (a negative exponent then gives the whole part, 0 for
/// most).   da = dy b a^(b-1), 0 where b is 0; db = dy a^b ln a, 0 where a is 0 and b is not below it
/// @param a,b  of one dtype; shapes that broadcast
ATLAS_INLINE Tensor pow(const Tensor& a, const Tensor& b);
/// s^b.
ATLAS_INLINE Tensor pow(double s, const Tensor& b);

// ---- operators -----------------------------------------------------------------------------------------------------

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator+(const Tensor& a, Tensor&& b) { return add(a, std::move(b)); }
inline Tensor operator+(const Tensor& a, double s) { return add(a, s); }
inline Tensor operator+(double s, const Tensor& a) { return add(a, s); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator-(const Tensor& a, double s) { return sub(a, s); }
inline Tensor operator-(double s, const Tensor& a) { return sub(s, a); }
inline Tensor operator-(const Tensor& a) { return neg(a); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator*(const Tensor& a, double s) { return mul(a, s); }
inline Tensor operator*(double s, const Tensor& a) { return mul(a, s); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator/(const Tensor& a, double s) { return div(a, s); }
inline Tensor operator/(double s, const Tensor& a) { return div(s, a); }

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/arithmetic-inl.h"
#endif
