// Bodies of ops/arithmetic.h: powers of two tensors, compound assignment.
#pragma once

#include <cmath>
#include <limits>
#include <utility>

#include "atlas/autograd/node.h"
#include "atlas/kernels/binary.h"
#include "atlas/kernels/functors.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/elementwise-inl.h"
#include "atlas/ops/logic.h"
#include "atlas/ops/select.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/strided.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor sum_to(const Tensor& x, const Shape& shape) {
  check(x.defined(), "sum_to", "the operand is undefined");
  if (x.shape() == shape) return x;
  check(shape.size() <= x.dim() && broadcast_shapes(x.shape(), shape, "sum_to") == x.shape(), "sum_to",
        "shape {} does not broadcast to that of {}", shape, describe(x));
  return record("sum_to", detail::raw_sum_to(x, shape), {x}, [from = shape, to = x.shape()](const Tensor& dy) {
    return Grads{raw_view(dy, to, broadcast_strides(from, dy.strides(), to), dy.offset())};
  });
}

ATLAS_INLINE Tensor add(const Tensor& a, const Tensor& b) {
  if (detail::mixed(a, b)) return add(to(a, detail::common_dtype(a, b)), to(b, detail::common_dtype(a, b)));
  Tensor y = detail::binary(functors::Add{}, "add", a, b);
  return record("add", y, {a, b},
                [as = a.shape(), bs = b.shape(), na = a.requires_grad(), nb = b.requires_grad()](const Tensor& dy) {
                  return Grads{na ? sum_to(dy, as) : Tensor(), nb ? sum_to(dy, bs) : Tensor()};
                });
}

ATLAS_INLINE Tensor add(const Tensor& a, Tensor&& b) {
  const bool here = !grad_enabled() && a.defined() && detail::solely_owned(b) && !b.requires_grad() &&
                    a.shape() == b.shape() && a.dtype() == b.dtype() && a.device() == b.device();
  if (!here) return add(a, std::as_const(b));
  b.add_(a);
  return std::move(b);
}

ATLAS_INLINE Tensor sub(const Tensor& a, const Tensor& b) {
  if (detail::mixed(a, b)) return sub(to(a, detail::common_dtype(a, b)), to(b, detail::common_dtype(a, b)));
  Tensor y = detail::binary(functors::Sub{}, "sub", a, b);
  return record("sub", y, {a, b},
                [as = a.shape(), bs = b.shape(), na = a.requires_grad(), nb = b.requires_grad()](const Tensor& dy) {
                  return Grads{na ? sum_to(dy, as) : Tensor(), nb ? neg(sum_to(dy, bs)) : Tensor()};
                });
}

ATLAS_INLINE Tensor mul(const Tensor& a, const Tensor& b) {
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

ATLAS_INLINE Tensor div(const Tensor& a, const Tensor& b) {
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

ATLAS_INLINE Tensor maximum(const Tensor& a, const Tensor& b) {
  return detail::extreme_of_two(functors::Maximum{}, a, b);
}

ATLAS_INLINE Tensor minimum(const Tensor& a, const Tensor& b) {
  return detail::extreme_of_two(functors::Minimum{}, a, b);
}

ATLAS_INLINE Tensor add(const Tensor& a, double s) {
  return record("add", detail::binary_number(functors::Add{}, "add", a, s), {a},
                [](const Tensor& dy) { return Grads{dy}; });
}

ATLAS_INLINE Tensor add(double s, const Tensor& a) { return add(a, s); }

ATLAS_INLINE Tensor sub(const Tensor& a, double s) {
  return record("sub", detail::binary_number(functors::Sub{}, "sub", a, s), {a},
                [](const Tensor& dy) { return Grads{dy}; });
}

ATLAS_INLINE Tensor sub(double s, const Tensor& a) {
  return record("sub", detail::binary_number(functors::Sub{}, "sub", a, s, true), {a},
                [](const Tensor& dy) { return Grads{neg(dy)}; });
}

ATLAS_INLINE Tensor mul(const Tensor& a, double s) {
  return record("mul", detail::binary_number(functors::Mul{}, "mul", a, s), {a},
                [s](const Tensor& dy) { return Grads{mul(dy, s)}; });
}

ATLAS_INLINE Tensor mul(double s, const Tensor& a) { return mul(a, s); }

ATLAS_INLINE Tensor div(const Tensor& a, double s) {
  return record("div", detail::binary_number(functors::Div{}, "div", a, s), {a},
                [s](const Tensor& dy) { return Grads{div(dy, s)}; });
}

ATLAS_INLINE Tensor div(double s, const Tensor& a) {
  Tensor y = detail::binary_number(functors::Div{}, "div", a, s, true);
  if (!needs_record({a})) return y;
  return record("div", y, {a}, [sa = Saved(a, "div"), sy = Saved(y, "div")](const Tensor& dy) {
    return Grads{neg(mul(dy, div(sy(), sa())))};
  });
}

ATLAS_INLINE Tensor maximum(const Tensor& a, double s) {
  return detail::clamped("maximum", a, s, std::numeric_limits<double>::infinity());
}

ATLAS_INLINE Tensor maximum(double s, const Tensor& a) { return maximum(a, s); }

ATLAS_INLINE Tensor minimum(const Tensor& a, double s) {
  return detail::clamped("minimum", a, -std::numeric_limits<double>::infinity(), s);
}

ATLAS_INLINE Tensor minimum(double s, const Tensor& a) { return minimum(a, s); }

ATLAS_INLINE Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }

ATLAS_INLINE Tensor operator+(const Tensor& a, Tensor&& b) { return add(a, std::move(b)); }

ATLAS_INLINE Tensor operator+(const Tensor& a, double s) { return add(a, s); }

ATLAS_INLINE Tensor operator+(double s, const Tensor& a) { return add(a, s); }

ATLAS_INLINE Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }

ATLAS_INLINE Tensor operator-(const Tensor& a, double s) { return sub(a, s); }

ATLAS_INLINE Tensor operator-(double s, const Tensor& a) { return sub(s, a); }

ATLAS_INLINE Tensor operator-(const Tensor& a) { return neg(a); }

ATLAS_INLINE Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }

ATLAS_INLINE Tensor operator*(const Tensor& a, double s) { return mul(a, s); }

ATLAS_INLINE Tensor operator*(double s, const Tensor& a) { return mul(a, s); }

ATLAS_INLINE Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }

ATLAS_INLINE Tensor operator/(const Tensor& a, double s) { return div(a, s); }

ATLAS_INLINE Tensor operator/(double s, const Tensor& a) { return div(s, a); }

}  // namespace atlas::inline ATLAS_ABI

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor pow(const Tensor& a, const Tensor& b) {
  if (detail::mixed(a, b)) return pow(to(a, detail::common_dtype(a, b)), to(b, detail::common_dtype(a, b)));
  Tensor y = detail::binary(functors::Power{}, "pow", a, b);
  if (!needs_record({a, b})) return y;
  return record("pow", y, {a, b},
                [na = a.requires_grad(), nb = b.requires_grad(), sa = Saved(a, "pow"), sb = Saved(b, "pow"),
                 sy = Saved(b.requires_grad() ? y : Tensor(), "pow")](const Tensor& dy) {
                  const Tensor &p = sa(), &q = sb();
                  Tensor da, db;
                  if (na) {  // b a^(b-1), which is NaN where both are 0
                    const Tensor slope = mul(dy, mul(q, pow(p, sub(q, 1))));
                    da = sum_to(where(eq(q, 0), zeros_like(slope), slope), p.shape());
                  }
                  if (nb) {  // 0^b is flat in b from 0 on, though ln 0 is not finite
                    const Tensor slope = mul(dy, mul(sy(), log(p)));
                    db = sum_to(where(mul(eq(p, 0), ge(q, 0)), zeros_like(slope), slope), q.shape());
                  }
                  return Grads{da, db};
                });
}
ATLAS_INLINE Tensor pow(double s, const Tensor& b) {
  detail::check_number("pow", b, s);
  return pow(full({}, s, b.dtype(), b.device()), b);
}

namespace detail {

/// Where `a op= ...` may not give the handle another tensor, it has to write to a's memory.
inline void store_in_place(const char* op, Tensor& a, const Tensor& result) {
  check_in_place(a, op);
  check(result.shape() == a.shape() && result.dtype() == a.dtype(), op,
        "the result, {}, does not fit into {} (write a = a {} b)", describe(result), describe(a), op[0]);
  a.copy_(result);
}

/// a op= b. `in_reach`: the caller keeps `a`, so that it may become the recorded result.
template <class F>
void assign(const char* op, Tensor& a, const Tensor* b, bool in_reach, const F& compute) {
  check(a.defined(), op, "the operand is undefined");
  const bool recorded = grad_enabled() && (a.requires_grad() || (b != nullptr && b->requires_grad()));
  if (!recorded) {
    Tensor result;
    {
      const NoGrad off;
      result = compute();
    }
    return store_in_place(op, a, result);
  }
  const bool leaf = a.requires_grad() && (!a.impl().node || a.impl().node->leaf.lock() != nullptr);
  check(!leaf, op, "{} is a leaf that requires a gradient: change it under NoGrad, or write a = a {} b", describe(a),
        op[0]);
  const bool alone = a.requires_grad() || (a.ptr().use_count() == 1 && a.impl().storage.use_count() == 1);
  check(in_reach && alone, op,
        "the result has a gradient, which {} cannot take: others see its memory (write a = a {} b)", describe(a),
        op[0]);
  Tensor result = compute();
  check(result.shape() == a.shape() && result.dtype() == a.dtype(), op,
        "the result, {}, does not fit into {} (write a = a {} b)", describe(result), describe(a), op[0]);
  a = std::move(result);
}

}  // namespace detail

#define ATLAS_ASSIGN_TENSOR(symbol, function)                                                     \
  ATLAS_INLINE Tensor& Tensor::operator symbol(const Tensor& b)& {                                \
    detail::assign(#symbol, *this, &b, true, [&] { return function(std::as_const(*this), b); });  \
    return *this;                                                                                 \
  }                                                                                               \
  ATLAS_INLINE void Tensor::operator symbol(const Tensor& b)&& {                                  \
    detail::assign(#symbol, *this, &b, false, [&] { return function(std::as_const(*this), b); }); \
  }
#define ATLAS_ASSIGN(symbol, function)                                                                 \
  ATLAS_ASSIGN_TENSOR(symbol, function)                                                                \
  ATLAS_INLINE Tensor& Tensor::operator symbol(double s)& {                                            \
    detail::assign(#symbol, *this, nullptr, true, [&] { return function(std::as_const(*this), s); });  \
    return *this;                                                                                      \
  }                                                                                                    \
  ATLAS_INLINE void Tensor::operator symbol(double s)&& {                                              \
    detail::assign(#symbol, *this, nullptr, false, [&] { return function(std::as_const(*this), s); }); \
  }
ATLAS_ASSIGN(+=, add)
ATLAS_ASSIGN(-=, sub)
ATLAS_ASSIGN(*=, mul)
ATLAS_ASSIGN(/=, div)
ATLAS_ASSIGN_TENSOR(&=, operator&)
ATLAS_ASSIGN_TENSOR(|=, operator|)
ATLAS_ASSIGN_TENSOR(^=, operator^)
#undef ATLAS_ASSIGN
#undef ATLAS_ASSIGN_TENSOR

}  // namespace atlas::inline ATLAS_ABI
