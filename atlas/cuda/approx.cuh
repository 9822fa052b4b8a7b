// Functions from the special-function unit: a few units in the last place, in place of a dozen instructions.
#pragma once

#include "atlas/core/math.h"
#include "atlas/cuda/launch.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

/// 2^x within 2 ulp; results below 2^-126 are 0.
__device__ inline float exp2_approx(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}
__device__ inline double exp2_approx(double x) { return exp2(x); }

/// a / b within 2 ulp, for b in [2^-126, 2^126].
__device__ inline float divide_approx(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fdividef(a, b);
#else
  return a / b;
#endif
}
__device__ inline double divide_approx(double a, double b) { return a / b; }

inline constexpr double kLog2e = 1.4426950408889634, kLn2 = 0.6931471805599453;

/// softplus(x) = log(1 + e^x), and its derivative in `slope`, from one exponential.
__device__ inline float softplus_approx(float x, float& slope) {
  const float u = exp2_approx(-fabsf(x) * static_cast<float>(kLog2e));  // in [0, 1]
  slope = divide_approx(x < 0.0f ? u : 1.0f, 1.0f + u);
  const bool big = u > 0.41421356f;  // as in math::softplus
  return (0.0f > x ? 0.0f : x) + math::detail::log1p_core(big ? 0.5f * (u - 1.0f) : u) + (big ? 0.693147181f : 0.0f);
}
__device__ inline double softplus_approx(double x, double& slope) {
  slope = math::sigmoid(x);
  return math::softplus(x);
}

}  // namespace atlas::inline ATLAS_ABI::cuda
