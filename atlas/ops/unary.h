// Element-wise functions of one tensor.
#pragma once

#include <cmath>
#include <utility>

#include "atlas/autograd/node.h"
#include "atlas/kernels/binary.h"
#include "atlas/kernels/gemm_epilogue.h"
#include "atlas/kernels/unary.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// y = f(x), recorded with dx = dy f'(x); keeps x or y for backward, whichever the derivative is written in.
template <class F>
Tensor unary(F f, const Tensor& x) {
  check_dtype(x, F::kName, F::kIntegers ? takes::integers : 0);
  Tensor y = empty_like(x);
  kernels::unary_forward(f, x, y);
  if (!needs_record({x})) return y;
  const Saved v(F::kFromOutput ? y : x, F::kName);
  y = record(F::kName, y, {x}, [f, v](const Tensor& dy) {
    Tensor dx = empty_like(dy);
    kernels::unary_backward(f, v(), dy, dx);
    return Grads{dx};
  });
  if constexpr (F::kFromOutput) return y;
  return recomputable(y, v, [f, v] {
    Tensor again = empty_like(v());
    kernels::unary_forward(f, v(), again);
    return again;
  });
}

/// The same in the memory of x, when nothing is recorded and nobody else holds it.
template <class F>
Tensor unary(F f, Tensor&& x) {
  if (grad_enabled() || !solely_owned(x) || x.requires_grad()) return unary(f, std::as_const(x));
  kernels::unary_forward(f, x, x);
  x.bump_version();
  return std::move(x);
}

}  // namespace detail

/// y = e^x.
/// @param x  any shape, float32 or float64, as in all functions of this file unless they say otherwise
/// @return a tensor of x's shape and dtype
/// @throws Error for other dtypes
inline Tensor exp(const Tensor& x) { return detail::unary(functors::Exp{}, x); }

/// y = ln x; -inf at 0, NaN below.   dx = dy / x
inline Tensor log(const Tensor& x) { return detail::unary(functors::Log{}, x); }

/// y = sqrt(x); NaN below 0.   dx = dy / (2 y)
inline Tensor sqrt(const Tensor& x) { return detail::unary(functors::Sqrt{}, x); }

/// y = 1 / sqrt(x).   dx = -dy y^3 / 2
inline Tensor rsqrt(const Tensor& x) { return detail::unary(functors::Rsqrt{}, x); }

/// y = |x|; also int64 and uint8.   dx = dy sign(x), 0 at 0
inline Tensor abs(const Tensor& x) { return detail::unary(functors::Abs{}, x); }

/// y = -x; also int64 and uint8 (which wraps).
inline Tensor neg(const Tensor& x) { return detail::unary(functors::Neg{}, x); }

/// y = x^2; also int64 and uint8 (which wraps).   dx = 2 x dy
inline Tensor square(const Tensor& x) { return detail::unary(functors::Square{}, x); }

/// y = x^p.   dx = p x^(p-1) dy
/// @param x  also int64 and uint8 (which wraps), for a whole p in [0, 255]; ops/arithmetic.h has pow of two tensors
/// @param p  any number; 2, 1/2, -1/2 and -1 have faster code. x below 0 needs a whole p, or gives NaN
inline Tensor pow(const Tensor& x, double p) {
  if (p == 2) return square(x);
  if (p == 0.5) return sqrt(x);
  if (p == -0.5) return rsqrt(x);
  if (p == -1) return detail::unary(functors::Reciprocal{}, x);
  if (x.defined() && (x.dtype() == int64 || x.dtype() == uint8) && p >= 0 && p <= 255 && p == std::floor(p)) {
    Tensor y = empty_like(x);
    kernels::binary_scalar(functors::Power{}, x, p, false, y);
    return y;
  }
  return detail::unary(functors::Pow{p}, x);
}

/// y = erf(x), the error function.   dx = dy 2 / sqrt(pi) e^(-x^2)
inline Tensor erf(const Tensor& x) { return detail::unary(functors::Erf{}, x); }

/// y = tanh(x).   dx = dy (1 - y^2)
inline Tensor tanh(const Tensor& x) { return detail::unary(functors::Tanh{}, x); }

/// y = 1 / (1 + e^(-x)).   dx = dy y (1 - y)
inline Tensor sigmoid(const Tensor& x) { return detail::unary(functors::Sigmoid{}, x); }

/// y = max(x, 0); also int64 and uint8.   dx = dy where x > 0
inline Tensor relu(const Tensor& x) { return detail::unary(functors::Relu{}, x); }
/// relu of a tensor that is given up: in its memory when nothing is recorded and nobody else holds it.
inline Tensor relu(Tensor&& x) { return detail::unary(functors::Relu{}, std::move(x)); }

/// y = x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, "Gaussian error linear units", exact
/// form).
inline Tensor gelu(const Tensor& x) { return detail::unary(functors::Gelu{}, x); }
/// gelu of a tensor that is given up: in its memory when nothing is recorded and nobody else holds it.
inline Tensor gelu(Tensor&& x) { return detail::unary(functors::Gelu{}, std::move(x)); }

/// The approximation of gelu by tanh: y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
inline Tensor gelu_tanh(const Tensor& x) { return detail::unary(functors::GeluTanh{}, x); }
/// gelu_tanh of a tensor that is given up: in its memory when nothing is recorded and nobody else holds it.
inline Tensor gelu_tanh(Tensor&& x) { return detail::unary(functors::GeluTanh{}, std::move(x)); }

/// y = x sigmoid(x), also called swish.
inline Tensor silu(const Tensor& x) { return detail::unary(functors::Silu{}, x); }
/// silu of a tensor that is given up: in its memory when nothing is recorded and nobody else holds it.
inline Tensor silu(Tensor&& x) { return detail::unary(functors::Silu{}, std::move(x)); }

/// The function of that name.
inline Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::none:
      break;
    case Activation::relu:
      return relu(x);
    case Activation::gelu:
      return gelu(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::silu:
      return silu(x);
  }
  return x;
}

/// y = log(1 + e^x), without overflow for large x.   dx = dy sigmoid(x)
inline Tensor softplus(const Tensor& x) { return detail::unary(functors::Softplus{}, x); }

/// y = x rounded down; like ceil, round and sign also of int64 and uint8, with a gradient of 0.
inline Tensor floor(const Tensor& x) { return detail::unary(functors::Floor{}, x); }
/// y = x rounded up.
inline Tensor ceil(const Tensor& x) { return detail::unary(functors::Ceil{}, x); }
/// y = the nearest whole number, the even one for halves.
inline Tensor round(const Tensor& x) { return detail::unary(functors::Round{}, x); }
/// y = -1, 0 or 1; 0 for NaN.
inline Tensor sign(const Tensor& x) { return detail::unary(functors::Sign{}, x); }

/// y = sin x, x in radians.   dx = dy cos x
inline Tensor sin(const Tensor& x) { return detail::unary(functors::Sin{}, x); }
/// y = cos x, x in radians.   dx = -dy sin x
inline Tensor cos(const Tensor& x) { return detail::unary(functors::Cos{}, x); }

namespace detail {

/// clamp() under the name of the op that asks.
inline Tensor clamped(const char* op, const Tensor& x, double lo, double hi) {
  check_dtype(x, op, takes::integers);
  check(lo == lo && hi == hi, op, "NaN is no bound");
  if (!is_floating(x.dtype())) {
    const auto fits = [](double s) { return std::abs(s) <= 0x1p53 && s == std::floor(s); };
    check((std::isinf(lo) || fits(lo)) && (std::isinf(hi) || fits(hi)), op,
          "{} takes whole numbers, got the bounds {} and {} (convert the tensor with .to(atlas::float32))", describe(x),
          lo, hi);
    const bool inside = x.dtype() == int64 ? lo < 0x1p63 && hi > -0x1p63 : lo <= 255 && hi >= 0;
    check(inside, op, "no {} is within the bounds {} and {}", name(x.dtype()), lo, hi);
  }
  return unary(functors::Clamp{lo, hi}, x);
}

}  // namespace detail

/// y = min(max(x, lo), hi), so that hi counts where lo > hi; also int64 and uint8.   dx = dy where lo <= x <= hi
/// @param lo,hi  an infinity leaves that side open
/// @throws Error when one of them is NaN, or no whole number for integers
inline Tensor clamp(const Tensor& x, double lo, double hi) { return detail::clamped("clamp", x, lo, hi); }

}  // namespace atlas::inline ATLAS_ABI
