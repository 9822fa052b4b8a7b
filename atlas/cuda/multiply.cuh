// Tiles of products in registers: bfloat16 as it is, and float32 on tensor cores that multiply TF32 (8 bits of
// exponent, 11 of mantissa).
//
// OneProduct rounds operands to TF32, a relative error of 2^-12 each: for those who ask for it (set_tf32).
// ThreeProducts loses nothing. A number is the sum of two, x = high + low + e with |e| <= 2^-23 |x|, and a product is
//
//   x y = high_x high_y + high_x low_y + low_x high_y + O(2^-22 |x y|),
//
// the last digit of float32: three products on tensor cores, which still take less time than one on CUDA cores. Tensor
// cores cut off what does not fit into a sum instead of rounding it, an error that grows with the length of the sum; so
// theirs are over 8 numbers only, and ordinary additions collect these (Ootomo and Yokota, 2022, "Recovering single
// precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance"). Infinities become NaN
// (infinity - infinity), and so do numbers within 2^-12 of the largest.
#pragma once

#include <bit>

#include "atlas/cuda/mma.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

/// sums[i][j] += a[i] b[j], tiles of 16 x 8 over 16 numbers of bfloat16 or 8 of float32 along the sum; b may hold
/// more than are used.
template <int kM, int kN, int kHeld>
__device__ void multiply(float (&sums)[kM][kN][4], const uint32_t (&a)[kM][4], const uint32_t (&b)[kHeld][2], bf16) {
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int j = 0; j < kN; ++j) mma_bf16_16816(sums[i][j], a[i], b[j][0], b[j][1]);
}

struct OneProduct {};
struct ThreeProducts {};

/// Numbers of float32 as sums of two of TF32.
template <int kCount>
struct SplitTf32 {
  uint32_t high[kCount], low[kCount];
  __device__ explicit SplitTf32(const uint32_t (&x)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      high[i] = tf32_bits(x[i]);
      low[i] = tf32_bits(std::bit_cast<uint32_t>(std::bit_cast<float>(x[i]) - std::bit_cast<float>(high[i])));
    }
  }
};

template <int kM, int kN, int kHeld>
__device__ void multiply(float (&sums)[kM][kN][4], const uint32_t (&a)[kM][4], const uint32_t (&b)[kHeld][2],
                         OneProduct) {
  uint32_t left[kM][4];
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int u = 0; u < 4; ++u) left[i][u] = tf32_bits(a[i][u]);
#pragma unroll
  for (int j = 0; j < kN; ++j) {
    const uint32_t b0 = tf32_bits(b[j][0]), b1 = tf32_bits(b[j][1]);
#pragma unroll
    for (int i = 0; i < kM; ++i) mma_tf32_1688(sums[i][j], left[i], b0, b1);
  }
}

template <int kM, int kN, int kHeld>
__device__ void multiply(float (&sums)[kM][kN][4], const uint32_t (&a)[kM][4], const uint32_t (&b)[kHeld][2],
                         ThreeProducts) {
  uint32_t high[kM][4], low[kM][4];
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    const SplitTf32<4> split(a[i]);
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      high[i][u] = split.high[u];
      low[i][u] = split.low[u];
    }
  }
#pragma unroll
  for (int j = 0; j < kN; ++j) {
    const SplitTf32<2> right(b[j]);
    // Small ones first. Products of a column of tiles lie between those that add to the same sums.
    float part[kM][4] = {};
#pragma unroll
    for (int i = 0; i < kM; ++i) mma_tf32_1688(part[i], low[i], right.high[0], right.high[1]);
#pragma unroll
    for (int i = 0; i < kM; ++i) mma_tf32_1688(part[i], high[i], right.low[0], right.low[1]);
#pragma unroll
    for (int i = 0; i < kM; ++i) mma_tf32_1688(part[i], high[i], right.high[0], right.high[1]);
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int u = 0; u < 4; ++u) sums[i][j][u] += part[i][u];
  }
}

/// out[j] += a b[j] by three products, for kCount tiles of 16 x 8.
template <int kCount>
__device__ void multiply_row(float (*out)[4], const SplitTf32<4>& a, const uint32_t (&b)[kCount][2]) {
  uint32_t high[kCount][2], low[kCount][2];
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const SplitTf32<2> split(b[j]);
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      high[j][u] = split.high[u];
      low[j][u] = split.low[u];
    }
  }
  float part[kCount][4] = {};
#pragma unroll
  for (int j = 0; j < kCount; ++j) mma_tf32_1688(part[j], a.low, high[j][0], high[j][1]);
#pragma unroll
  for (int j = 0; j < kCount; ++j) mma_tf32_1688(part[j], a.high, low[j][0], low[j][1]);
#pragma unroll
  for (int j = 0; j < kCount; ++j) mma_tf32_1688(part[j], a.high, high[j][0], high[j][1]);
#pragma unroll
  for (int j = 0; j < kCount; ++j)
#pragma unroll
    for (int u = 0; u < 4; ++u) out[j][u] += part[j][u];
}

}  // namespace atlas::inline ATLAS_ABI::cuda
