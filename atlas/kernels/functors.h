// What element-wise kernels compute, element by element: small structs shared by the CPU and CUDA.
//
// A unary functor has forward(x) and derivative(v), where v is the input x or, when kFromOutput, the output y = f(x):
// the op keeps only that one for backward. A binary functor has forward(a, b).
#pragma once

#include <cmath>
#include <numbers>
#include <type_traits>

#include "atlas/core/dtype.h"
#include "atlas/core/math.h"

namespace atlas::inline ATLAS_ABI {

/// Element-wise functions; float32, float64 and, where kIntegers says so, int64 and uint8.
namespace functors {

#define ATLAS_FUNCTOR(text, from_output, integers) \
  static constexpr const char* kName = text;       \
  static constexpr bool kFromOutput = from_output; \
  static constexpr bool kIntegers = integers
#define ATLAS_ELEMENT(declaration) \
  template <class T>               \
  ATLAS_HOST_DEVICE __attribute__((always_inline)) T declaration const

/// No activation.
struct Identity {
  ATLAS_FUNCTOR("identity", false, true);
  ATLAS_ELEMENT(forward(T x)) { return x; }
  ATLAS_ELEMENT(derivative(T)) { return T(1); }
};
struct Exp {
  ATLAS_FUNCTOR("exp", true, false);
  ATLAS_ELEMENT(forward(T x)) { return math::exp(x); }
  ATLAS_ELEMENT(derivative(T y)) { return y; }
};
struct Log {
  ATLAS_FUNCTOR("log", false, false);
  ATLAS_ELEMENT(forward(T x)) { return math::log(x); }
  ATLAS_ELEMENT(derivative(T x)) { return T(1) / x; }
};
struct Sqrt {
  ATLAS_FUNCTOR("sqrt", true, false);
  ATLAS_ELEMENT(forward(T x)) { return std::sqrt(x); }
  ATLAS_ELEMENT(derivative(T y)) { return T(0.5) / y; }
};
struct Rsqrt {
  ATLAS_FUNCTOR("rsqrt", true, false);
  ATLAS_ELEMENT(forward(T x)) { return T(1) / std::sqrt(x); }
  ATLAS_ELEMENT(derivative(T y)) { return T(-0.5) * y * y * y; }
};
struct Abs {
  ATLAS_FUNCTOR("abs", false, true);
  ATLAS_ELEMENT(forward(T x)) { return x < T(0) ? static_cast<T>(-x) : (x == T(0) ? T(0) : x); }
  ATLAS_ELEMENT(derivative(T x)) { return x > T(0) ? T(1) : (x < T(0) ? T(-1) : T(0)); }
};
struct Neg {
  ATLAS_FUNCTOR("neg", false, true);
  ATLAS_ELEMENT(forward(T x)) { return static_cast<T>(-x); }
  ATLAS_ELEMENT(derivative(T)) { return T(-1); }
};
struct Square {
  ATLAS_FUNCTOR("square", false, true);
  ATLAS_ELEMENT(forward(T x)) { return static_cast<T>(x * x); }
  ATLAS_ELEMENT(derivative(T x)) { return T(2) * x; }
};
struct Reciprocal {
  ATLAS_FUNCTOR("reciprocal", true, false);
  ATLAS_ELEMENT(forward(T x)) { return T(1) / x; }
  ATLAS_ELEMENT(derivative(T y)) { return -y * y; }
};
struct Pow {
  ATLAS_FUNCTOR("pow", false, false);
  double exponent;
  ATLAS_ELEMENT(forward(T x)) { return std::pow(x, static_cast<T>(exponent)); }
  ATLAS_ELEMENT(derivative(T x)) {
    return exponent == 0 ? T(0) : static_cast<T>(exponent) * std::pow(x, static_cast<T>(exponent - 1));
  }
};
/// Rounds down; floor, ceil, round and sign are constant between their steps.
struct Floor {
  ATLAS_FUNCTOR("floor", false, true);
  ATLAS_ELEMENT(forward(T x)) {
    if constexpr (std::is_integral_v<T>)
      return x;
    else
      return std::floor(x);
  }
  ATLAS_ELEMENT(derivative(T)) { return T(0); }
};
struct Ceil {
  ATLAS_FUNCTOR("ceil", false, true);
  ATLAS_ELEMENT(forward(T x)) {
    if constexpr (std::is_integral_v<T>)
      return x;
    else
      return std::ceil(x);
  }
  ATLAS_ELEMENT(derivative(T)) { return T(0); }
};
/// To the nearest whole number, halves to the even one.
struct Round {
  ATLAS_FUNCTOR("round", false, true);
  ATLAS_ELEMENT(forward(T x)) {
    if constexpr (std::is_integral_v<T>)
      return x;
    else
      return std::nearbyint(x);
  }
  ATLAS_ELEMENT(derivative(T)) { return T(0); }
};
struct Sign {
  ATLAS_FUNCTOR("sign", false, true);
  ATLAS_ELEMENT(forward(T x)) { return static_cast<T>((x > T(0)) - (x < T(0))); }
  ATLAS_ELEMENT(derivative(T)) { return T(0); }
};
struct Sin {
  ATLAS_FUNCTOR("sin", false, false);
  ATLAS_ELEMENT(forward(T x)) { return std::sin(x); }
  ATLAS_ELEMENT(derivative(T x)) { return std::cos(x); }
};
struct Cos {
  ATLAS_FUNCTOR("cos", false, false);
  ATLAS_ELEMENT(forward(T x)) { return std::cos(x); }
  ATLAS_ELEMENT(derivative(T x)) { return -std::sin(x); }
};
struct Erf {
  ATLAS_FUNCTOR("erf", false, false);
  ATLAS_ELEMENT(forward(T x)) { return math::erf(x); }
  ATLAS_ELEMENT(derivative(T x)) { return T(2 * std::numbers::inv_sqrtpi) * math::exp(-x * x); }
};
struct Tanh {
  ATLAS_FUNCTOR("tanh", true, false);
  ATLAS_ELEMENT(forward(T x)) { return math::tanh(x); }
  ATLAS_ELEMENT(derivative(T y)) { return T(1) - y * y; }
};
struct Sigmoid {
  ATLAS_FUNCTOR("sigmoid", true, false);
  ATLAS_ELEMENT(forward(T x)) { return math::sigmoid(x); }
  ATLAS_ELEMENT(derivative(T y)) { return y * (T(1) - y); }
};
struct Relu {
  ATLAS_FUNCTOR("relu", true, true);
  ATLAS_ELEMENT(forward(T x)) { return T(0) > x ? T(0) : x; }  // this way round a NaN stays
  ATLAS_ELEMENT(derivative(T y)) { return y > T(0) ? T(1) : T(0); }
};
/// x Phi(x), Phi the normal distribution function.
struct Gelu {
  ATLAS_FUNCTOR("gelu", false, false);
  ATLAS_ELEMENT(forward(T x)) { return x * math::normal_cdf(x); }
  ATLAS_ELEMENT(derivative(T x)) { return math::normal_cdf(x) + x * math::normal_density(x); }
};
/// The approximation x / 2 (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  ATLAS_FUNCTOR("gelu_tanh", false, false);
  ATLAS_ELEMENT(forward(T x)) { return x * math::normal_cdf_tanh(x); }
  ATLAS_ELEMENT(derivative(T x)) {  // with P = (1 + tanh(u)) / 2: P + 2 x P (1 - P) du/dx
    constexpr double kScale = std::numbers::sqrt2 * std::numbers::inv_sqrtpi, kCubic = 0.044715;
    const T p = math::normal_cdf_tanh(x);
    return p + T(2 * kScale) * x * p * (T(1) - p) * (T(1) + T(3 * kCubic) * x * x);
  }
};
struct Silu {
  ATLAS_FUNCTOR("silu", false, false);
  ATLAS_ELEMENT(forward(T x)) { return x / (T(1) + math::exp(-x)); }
  ATLAS_ELEMENT(derivative(T x)) {
    const T s = math::sigmoid(x);
    return s * (T(1) + x * (T(1) - s));
  }
};
/// Huber's loss of a difference over beta > 0: x^2 / (2 beta) within beta, |x| - beta / 2 beyond.
struct SmoothL1 {
  ATLAS_FUNCTOR("smooth_l1", false, false);
  double beta;
  ATLAS_ELEMENT(forward(T x)) {
    const T b = static_cast<T>(beta), a = x < T(0) ? -x : x;
    return a < b ? T(0.5) * a * a / b : a - T(0.5) * b;
  }
  ATLAS_ELEMENT(derivative(T x)) {
    const T b = static_cast<T>(beta), v = x / b;
    return v < T(-1) ? T(-1) : (v > T(1) ? T(1) : v);
  }
};
struct Softplus {
  ATLAS_FUNCTOR("softplus", false, false);
  ATLAS_ELEMENT(forward(T x)) { return math::softplus(x); }
  ATLAS_ELEMENT(derivative(T x)) { return math::sigmoid(x); }
};
/// hi where lo > hi; bounds beyond an integer type's range are those of the type.
struct Clamp {
  ATLAS_FUNCTOR("clamp", false, true);
  double lo, hi;
  ATLAS_ELEMENT(forward(T x)) {
    const T l = convert<T>(lo), h = convert<T>(hi), v = l > x ? l : x;
    return h < v ? h : v;
  }
  ATLAS_ELEMENT(derivative(T x)) { return ((x >= static_cast<T>(lo)) & (x <= static_cast<T>(hi))) ? T(1) : T(0); }
};

#undef ATLAS_FUNCTOR
#define ATLAS_FUNCTOR(text, integers, compares) \
  static constexpr const char* kName = text;    \
  static constexpr bool kIntegers = integers;   \
  static constexpr bool kCompares = compares /* the result is bool */

struct Add {
  ATLAS_FUNCTOR("add", true, false);
  ATLAS_ELEMENT(forward(T a, T b)) { return static_cast<T>(a + b); }
};
struct Sub {
  ATLAS_FUNCTOR("sub", true, false);
  ATLAS_ELEMENT(forward(T a, T b)) { return static_cast<T>(a - b); }
};
struct Mul {
  ATLAS_FUNCTOR("mul", true, false);
  ATLAS_ELEMENT(forward(T a, T b)) { return static_cast<T>(a * b); }
};
struct Div {
  ATLAS_FUNCTOR("div", false, false);
  ATLAS_ELEMENT(forward(T a, T b)) { return a / b; }
};
struct Maximum {
  ATLAS_FUNCTOR("maximum", true, false);
  ATLAS_ELEMENT(forward(T a, T b)) { return ((a > b) | (a != a)) ? a : b; }
};
struct Minimum {
  ATLAS_FUNCTOR("minimum", true, false);
  ATLAS_ELEMENT(forward(T a, T b)) { return ((a < b) | (a != a)) ? a : b; }
};
/// a^b. Of integers, b below 0 gives the whole part: 0 unless a is 1 or -1.
struct Power {
  ATLAS_FUNCTOR("pow", true, false);
  ATLAS_ELEMENT(forward(T a, T b)) {
    if constexpr (std::is_integral_v<T>) {
      constexpr T kMinusOne = static_cast<T>(-1);
      if (b < T(0)) return a == T(1) || (a == kMinusOne && b % 2 == 0) ? T(1) : (a == kMinusOne ? a : T(0));
      uint64_t y = 1, factor = static_cast<uint64_t>(a);  // unsigned: it may overflow, and wraps then
      for (uint64_t n = static_cast<uint64_t>(b); n != 0; n >>= 1, factor *= factor)
        if ((n & 1) != 0) y *= factor;
      return static_cast<T>(y);
    } else {
      return std::pow(a, b);
    }
  }
};
/// The share of a in maximum(a, b): 1, 0, or 1/2 for a tie.
struct MaximumShare {
  ATLAS_FUNCTOR("maximum", false, false);
  ATLAS_ELEMENT(forward(T a, T b)) { return a > b ? T(1) : (a == b ? T(0.5) : T(0)); }
};
/// 1 where a equals b, else 0.
struct Same {
  ATLAS_FUNCTOR("same", false, false);
  ATLAS_ELEMENT(forward(T a, T b)) { return a == b ? T(1) : T(0); }
};

#define ATLAS_COMPARISON(Type, text, op)             \
  struct Type {                                      \
    ATLAS_FUNCTOR(text, true, true);                 \
    template <class T>                               \
    ATLAS_HOST_DEVICE bool forward(T a, T b) const { \
      return a op b;                                 \
    }                                                \
  }
ATLAS_COMPARISON(Equal, "eq", ==);
ATLAS_COMPARISON(NotEqual, "ne", !=);
ATLAS_COMPARISON(Less, "lt", <);
ATLAS_COMPARISON(LessEqual, "le", <=);
ATLAS_COMPARISON(Greater, "gt", >);
ATLAS_COMPARISON(GreaterEqual, "ge", >=);

#undef ATLAS_COMPARISON
#undef ATLAS_ELEMENT
#undef ATLAS_FUNCTOR

}  // namespace functors

// The functors a library instantiates its unary and binary kernels for.
// clang-format off
#define ATLAS_UNARY_FUNCTORS(X) \
  X(Exp) X(Log) X(Sqrt) X(Rsqrt) X(Abs) X(Neg) X(Square) X(Reciprocal) X(Pow) X(Floor) X(Ceil) X(Round) X(Sign) X(Sin) X(Cos) X(Erf) X(Tanh) X(Sigmoid) X(Relu) X(Gelu) \
  X(GeluTanh) X(Silu) X(SmoothL1) X(Softplus) X(Clamp)
#define ATLAS_BINARY_FUNCTORS(X) \
  X(Add) X(Sub) X(Mul) X(Div) X(Maximum) X(Minimum) X(Power) X(MaximumShare) X(Same) \
  X(Equal) X(NotEqual) X(Less) X(LessEqual) X(Greater) X(GreaterEqual)
// clang-format on

}  // namespace atlas::inline ATLAS_ABI
