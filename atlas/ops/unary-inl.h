// Bodies of unary.h.
#pragma once

#include <cmath>
#include <utility>

#include "atlas/autograd/node.h"
#include "atlas/kernels/binary.h"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/gemm_epilogue.h"
#include "atlas/kernels/unary.h"
#include "atlas/ops/elementwise-inl.h"
#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor exp(const Tensor& x) { return detail::unary(functors::Exp{}, x); }

ATLAS_INLINE Tensor log(const Tensor& x) { return detail::unary(functors::Log{}, x); }

ATLAS_INLINE Tensor sqrt(const Tensor& x) { return detail::unary(functors::Sqrt{}, x); }

ATLAS_INLINE Tensor rsqrt(const Tensor& x) { return detail::unary(functors::Rsqrt{}, x); }

ATLAS_INLINE Tensor abs(const Tensor& x) { return detail::unary(functors::Abs{}, x); }

ATLAS_INLINE Tensor neg(const Tensor& x) { return detail::unary(functors::Neg{}, x); }

ATLAS_INLINE Tensor square(const Tensor& x) { return detail::unary(functors::Square{}, x); }

ATLAS_INLINE Tensor pow(const Tensor& x, double p) {
  const char* op = "pow";
  check_dtype(x, op, takes::integers);
  if (!is_floating(x.dtype())) {
    const bool small = x.dtype() == uint8;
    check(p >= 0 && p <= (small ? 255 : 0x1p53) && p == std::floor(p), op,
          "{} takes whole exponents from 0 to {}, got {} (floats take any: .to(atlas::float32))", describe(x),
          small ? "255" : "2^53", p);
    Tensor y = empty_like(x);
    kernels::binary_scalar(functors::Power{}, x, p, false, y);
    return y;
  }
  const auto called_pow = [&](auto functor) {
    detail::UnaryOp f(functor);
    f.name = op;
    return detail::unary_of(f, x);
  };
  if (p == 2) return called_pow(functors::Square{});
  if (p == 0.5) return called_pow(functors::Sqrt{});
  if (p == -0.5) return called_pow(functors::Rsqrt{});
  if (p == -1) return called_pow(functors::Reciprocal{});
  return called_pow(functors::Pow{p});
}

ATLAS_INLINE Tensor erf(const Tensor& x) { return detail::unary(functors::Erf{}, x); }

ATLAS_INLINE Tensor tanh(const Tensor& x) { return detail::unary(functors::Tanh{}, x); }

ATLAS_INLINE Tensor sigmoid(const Tensor& x) { return detail::unary(functors::Sigmoid{}, x); }

ATLAS_INLINE Tensor relu(const Tensor& x) { return detail::unary(functors::Relu{}, x); }

ATLAS_INLINE Tensor relu(Tensor&& x) { return detail::unary(functors::Relu{}, std::move(x)); }

ATLAS_INLINE Tensor gelu(const Tensor& x) { return detail::unary(functors::Gelu{}, x); }

ATLAS_INLINE Tensor gelu(Tensor&& x) { return detail::unary(functors::Gelu{}, std::move(x)); }

ATLAS_INLINE Tensor gelu_tanh(const Tensor& x) { return detail::unary(functors::GeluTanh{}, x); }

ATLAS_INLINE Tensor gelu_tanh(Tensor&& x) { return detail::unary(functors::GeluTanh{}, std::move(x)); }

ATLAS_INLINE Tensor silu(const Tensor& x) { return detail::unary(functors::Silu{}, x); }

ATLAS_INLINE Tensor silu(Tensor&& x) { return detail::unary(functors::Silu{}, std::move(x)); }

ATLAS_INLINE Tensor activate(const Tensor& x, Activation activation) {
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

ATLAS_INLINE Tensor softplus(const Tensor& x) { return detail::unary(functors::Softplus{}, x); }

ATLAS_INLINE Tensor floor(const Tensor& x) { return detail::unary(functors::Floor{}, x); }

ATLAS_INLINE Tensor ceil(const Tensor& x) { return detail::unary(functors::Ceil{}, x); }

ATLAS_INLINE Tensor round(const Tensor& x) { return detail::unary(functors::Round{}, x); }

ATLAS_INLINE Tensor sign(const Tensor& x) { return detail::unary(functors::Sign{}, x); }

ATLAS_INLINE Tensor sin(const Tensor& x) { return detail::unary(functors::Sin{}, x); }

ATLAS_INLINE Tensor cos(const Tensor& x) { return detail::unary(functors::Cos{}, x); }

namespace detail {

ATLAS_INLINE Tensor clamped(const char* op, const Tensor& x, double lo, double hi) {
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

ATLAS_INLINE Tensor clamp(const Tensor& x, double lo, double hi) { return detail::clamped("clamp", x, lo, hi); }

}  // namespace atlas::inline ATLAS_ABI
