// Transcendental functions for kernels. The float32 versions are branch-free polynomials, so that a plain loop over
// them vectorizes (gcc -O3 -fno-trapping-math) and the CPU and CUDA give the same values; the float64 versions are the
// standard library's, so that gradient checks see exact derivatives. Coefficients are minimax fits of ours.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "atlas/core/config.h"

// Functions of loops that must vectorize are always inlined: in a large translation unit the compiler's own limits
// would leave calls, and loops ten times as slow.
#define ATLAS_MATH ATLAS_HOST_DEVICE __attribute__((always_inline)) inline

/// Scalar math of kernels: one name for float32 (fast, vectorizable) and float64 (standard library).
namespace atlas::inline ATLAS_ABI::math {

/// a b + c, fused where the machine has an instruction for it.
ATLAS_MATH float fmadd(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__CUDA_ARCH__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

namespace detail {

/// c0 + c1 x + ... by Horner's rule. Coefficients are arguments, not an array, which the vectorizer would not see
/// through.
ATLAS_MATH float polynomial(float, float c) { return c; }
template <class... C>
ATLAS_MATH float polynomial(float x, float c, C... higher) {
  return fmadd(polynomial(x, higher...), x, c);
}

/// 2^n for n in [-126, 127].
ATLAS_MATH float power_of_two(int32_t n) { return std::bit_cast<float>((static_cast<uint32_t>(n) + 127u) << 23); }

/// |x|.
ATLAS_MATH float magnitude(float x) { return std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0x7fffffffu); }

/// y >= 0 with the sign of x.
ATLAS_MATH float with_sign(float y, float x) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(y) | (std::bit_cast<uint32_t>(x) & 0x80000000u));
}

/// log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1].
ATLAS_MATH float log1p_core(float f) {
  const float f2 = f * f;
  return f + fmadd(f2 * f,
                   polynomial(f, 3.333333135e-01f, -2.500082254e-01f, 2.000123411e-01f, -1.662329882e-01f,
                              1.420155317e-01f, -1.316058338e-01f, 1.276332587e-01f, -7.635651529e-02f),
                   -0.5f * f2);
}

inline constexpr float kLn2High = 0.693145752f, kLn2Low = 1.42860677e-6f;  // their sum is ln 2; high has 16 bits
inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, left in the low bits
/// e^r = 1 + r + kExp2 r^2 + ... for r in [-ln 2 / 2, ln 2 / 2].
inline constexpr float kExp2 = 4.999999404e-01f, kExp3 = 1.666652113e-01f, kExp4 = 4.166838899e-02f,
                       kExp5 = 8.368735202e-03f, kExp6 = 1.381455921e-03f;

}  // namespace detail

/// e^x. At most 2 ulp (1 with FMA); overflows to infinity, underflows through subnormals to 0, NaN stays NaN.
ATLAS_MATH float exp(float x) {
  float v = 89.0f < x ? 89.0f : x;  // e^89 is infinite and e^-104 zero; comparisons this way round keep NaN
  v = -104.0f > v ? -104.0f : v;
  const float shifted = fmadd(v, detail::kLog2E, detail::kRound);
  const float n = shifted - detail::kRound;
  const int32_t k = static_cast<int32_t>(std::bit_cast<uint32_t>(shifted) - 0x4b400000u);
  const float r = fmadd(n, -detail::kLn2Low, fmadd(n, -detail::kLn2High, v));
  const float p =
      fmadd(r * r, detail::polynomial(r, detail::kExp2, detail::kExp3, detail::kExp4, detail::kExp5, detail::kExp6),
            r) +
      1.0f;
  const int32_t half = k >> 1;  // in two steps: 2^k itself may overflow or be subnormal
  return p * detail::power_of_two(half) * detail::power_of_two(k - half);
}
ATLAS_MATH double exp(double x) { return std::exp(x); }

/// Natural logarithm. At most 2 ulp; log(0) = -inf, log(x < 0) = NaN, subnormals are handled.
ATLAS_MATH float log(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float v = tiny ? x * 8388608.0f : x;
  // Subtracting the bits of sqrt(1/2) makes the exponent the one of v / sqrt(1/2): the mantissa falls in
  // [0.707, 1.414).
  const uint32_t bits = std::bit_cast<uint32_t>(v) - 0x3f3504f3u;
  const int32_t k = static_cast<int32_t>(bits) >> 23;
  const float m = std::bit_cast<float>((bits & 0x007fffffu) + 0x3f3504f3u);
  const float n = static_cast<float>(k) - (tiny ? 23.0f : 0.0f);
  float y = fmadd(n, detail::kLn2Low, detail::log1p_core(m - 1.0f));
  y = fmadd(n, detail::kLn2High, y);
  y = x < std::numeric_limits<float>::infinity() ? y : x;  // infinity and NaN
  y = x == 0.0f ? -std::numeric_limits<float>::infinity() : y;
  return x < 0.0f ? std::numeric_limits<float>::quiet_NaN() : y;
}
ATLAS_MATH double log(double x) { return std::log(x); }

/// Hyperbolic tangent. At most 2 ulp.
ATLAS_MATH float tanh(float x) {
  const float a = detail::magnitude(x), a2 = a * a;
  const float small = fmadd(a * a2,
                            detail::polynomial(a2, -3.333327770e-01f, 1.333133131e-01f, -5.373000726e-02f,
                                               2.060617507e-02f, -5.666976329e-03f),
                            a);
  const float large = 1.0f - 2.0f / (exp(2.0f * a) + 1.0f);
  return detail::with_sign(a < 0.625f ? small : large, x);
}
ATLAS_MATH double tanh(double x) { return std::tanh(x); }

/// Error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x. At most 2 ulp.
ATLAS_MATH float erf(float x) {
  const float a = detail::magnitude(x), a2 = a * a;
  const float small =
      fmadd(a,
            detail::polynomial(a2, 1.283791661e-01f, -3.761262596e-01f, 1.128358543e-01f, -2.685381286e-02f,
                               5.188327748e-03f, -8.010193706e-04f, 7.853860734e-05f),
            a);
  // The second polynomial is log(erfc(a)); at 4 erf is 1 in float32.
  const float large = 1.0f - exp(detail::polynomial(4.0f < a ? 4.0f : a, 1.884686353e-04f, -1.129580259e+00f,
                                                    -6.332163811e-01f, -1.084221080e-01f, 2.521034330e-02f,
                                                    -4.205286037e-03f, 4.414728610e-04f, -2.169762956e-05f));
  return detail::with_sign(a < 1.0f ? small : large, x);
}
ATLAS_MATH double erf(double x) { return std::erf(x); }

namespace detail {

/// 2^p for p <= 0, 1 ulp; 0 below -126. NaN stays NaN.
ATLAS_MATH float exp2_negative(float p) {
  const float shifted = p + kRound;
  const float r = p - (shifted - kRound);
  const float y = polynomial(r, 1.0f, 6.931471806e-01f, 2.402265090e-01f, 5.550408382e-02f, 9.616875350e-03f,
                             1.336843000e-03f, 1.602194617e-04f);
  const float scaled = std::bit_cast<float>(std::bit_cast<uint32_t>(y) + (std::bit_cast<uint32_t>(shifted) << 23));
  return p < -126.0f ? 0.0f : scaled;
}

/// 1 - t for x > 0 and t otherwise, with t = 2^p below one half.
ATLAS_MATH float two_sided(float p, float x) {
  const float t = exp2_negative(p);
  return x > 0.0f ? 1.0f - t : t;
}

}  // namespace detail

/// Distribution function of the normal distribution, (1 + erf(x / sqrt(2))) / 2. Within 1e-7; where it is below 1e-6,
/// within 4 % of it, and 0 below -13.3. The polynomial is log2 of it at -|x|.
ATLAS_MATH float normal_cdf(float x) {
  const float a = detail::magnitude(x);
  return detail::two_sided(detail::polynomial(a, -1.0f, -1.151106715e+00f, -4.591907859e-01f, -5.255858973e-02f,
                                              7.160959300e-03f, -2.093331859e-04f, -1.631690393e-04f, 3.900907177e-05f,
                                              -4.183742021e-06f, 2.213208318e-07f, -4.635549722e-09f),
                           x);
}
ATLAS_MATH double normal_cdf(double x) { return 0.5 * std::erfc(-0.70710678118654752 * x); }

/// Density of the normal distribution, e^(-x^2 / 2) / sqrt(2 pi). Within 1e-7; 0 where it would be subnormal.
ATLAS_MATH float normal_density(float x) { return 3.989422804e-01f * detail::exp2_negative(-0.72134752f * x * x); }
ATLAS_MATH double normal_density(double x) { return 0.39894228040143268 * std::exp(-0.5 * x * x); }

/// The approximation of normal_cdf(), (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3): in the same way.
/// Within 1.2e-7.
ATLAS_MATH float normal_cdf_tanh(float x) {
  const float a = detail::magnitude(x);
  return detail::two_sided(detail::polynomial(a, -1.0f, -1.151101589e+00f, -4.592495561e-01f, -5.141941458e-02f,
                                              7.776382379e-03f, -6.165134255e-04f, 5.204087938e-04f, -8.065354195e-04f,
                                              2.978594857e-04f, -4.949988215e-05f, 3.951200597e-06f, -1.231698832e-07f),
                           x);
}
ATLAS_MATH double normal_cdf_tanh(double x) {
  return 0.5 + 0.5 * std::tanh(0.79788456080286536 * x * (1 + 0.044715 * x * x));
}

/// 1 / (1 + e^(-x)). At most 3 ulp above -87; below, results that would be subnormal are 0.
ATLAS_MATH float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }
ATLAS_MATH double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

/// log(1 + e^x), without overflow for large x nor loss for very negative x. At most 3 ulp.
ATLAS_MATH float softplus(float x) {
  const float a = detail::magnitude(x);
  const float u = exp(-a);
  // log(1 + u), u in [0, 1]: above sqrt(2) - 1, ln 2 is taken out; (u - 1) / 2 is exact there.
  const bool big = u > 0.41421356f;
  const float l = detail::log1p_core(big ? 0.5f * (u - 1.0f) : u) + (big ? 0.693147181f : 0.0f);
  return (0.0f > x ? 0.0f : x) + l;
}
ATLAS_MATH double softplus(double x) { return (0.0 > x ? 0.0 : x) + std::log1p(std::exp(-std::fabs(x))); }

}  // namespace atlas::inline ATLAS_ABI::math

#undef ATLAS_MATH
