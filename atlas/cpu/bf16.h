// Products of a layer's weights in bfloat16 with float32 sums (set_inference_precision()).
#pragma once

#include "atlas/kernels/conv_shape.h"
#include "atlas/kernels/gemm_epilogue.h"

namespace atlas::inline ATLAS_ABI::cpu::detail {

/// weight[N, K] rounded and packed for bf16_product(): a bfloat16 tensor. By all threads.
/// @param weight  N rows of K contiguous numbers, row_step apart
ATLAS_INLINE Tensor bf16_packed(const float* weight, int64_t row_step, int64_t n, int64_t k);

/// C[m, n] = epilogue(A weightᵀ), A[m, k] rounded as it is read; on all threads.
ATLAS_INLINE void bf16_product(const float* a, int64_t lda, const Tensor& packed, int64_t m, int64_t n, int64_t k,
                               float* c, int64_t ldc, const GemmEpilogue<float>& epilogue);

/// A convolution of one group whose filters, as rows of s.depth() numbers, are packed.
ATLAS_INLINE void bf16_convolve(const float* in, const Tensor& packed, float* out, const Conv2dShape& s,
                                const GemmEpilogue<float>& epilogue);

/// Whether bf16_convolve() is the one to use. Filters of odd length are not made of pairs (the three channels of a
/// picture): those layers are short of arithmetic anyway.
inline bool bf16_convolves(const Conv2dShape& s) { return s.groups == 1 && s.group_in() % 2 == 0; }

}  // namespace atlas::inline ATLAS_ABI::cpu::detail

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/bf16-inl.h"
#endif
