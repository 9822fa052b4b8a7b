// Matrix products: the CPU's blocked GEMM (also the engine of convolution and attention), and the kernels of matmul and
// linear.
#pragma once

#include <span>

#include "atlas/core/precision.h"
#include "atlas/kernels/gemm_epilogue.h"
#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// How the last two axes of a tensor lie in memory, as a GEMM wants to know it.
struct MatrixLayout {
  bool usable = false;      ///< one of the two axes has unit stride: no copy is needed
  bool transposed = false;  ///< it is the column of the matrix that is contiguous
  int64_t ld = 0;           ///< distance between consecutive rows (or columns, when transposed)
};

/// The layout of the matrices in the last two axes of `t` ([..., rows, columns]).
inline MatrixLayout matrix_layout(const Tensor& t) {
  const int d = t.dim();
  const int64_t rows = t.shape()[d - 2], columns = t.shape()[d - 1];
  const int64_t row_step = t.strides()[d - 2], column_step = t.strides()[d - 1];
  if ((column_step == 1 || columns <= 1) && (row_step > 0 || rows <= 1))
    return {true, false, rows <= 1 ? std::max<int64_t>(columns, 1) : row_step};
  if ((row_step == 1 || rows <= 1) && (column_step > 0 || columns <= 1))
    return {true, true, columns <= 1 ? std::max<int64_t>(rows, 1) : column_step};
  return {};
}

namespace cpu {

/// C = alpha op(A) op(B) + beta C on the calling thread; row-major, op(A) is m x k, op(B) is k x n, op transposes when
/// told. With beta = 0, C is not read. T is float or double.
template <class T>
void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                 const T* b, int64_t ldb, T beta, T* c, int64_t ldc);

/// The three matrices of one product of a batch.
template <class T>
struct GemmOperands {
  const T* a;
  const T* b;
  T* c;
};

/// C_i = epilogue(alpha op(A_i) op(B_i) + beta C_i) for every i, on all threads; the epilogue's own tensors are those
/// of a batch of one. The tiles depend on the sizes alone, so the result does not depend on the number of threads.
template <class T>
void gemm_batched(std::span<const GemmOperands<T>> batch, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                  T alpha, int64_t lda, int64_t ldb, T beta, int64_t ldc, const GemmEpilogue<T>& epilogue = {});

/// A single product on all threads: C = epilogue(alpha op(A) op(B) + beta C).
template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b,
          int64_t ldb, T beta, T* c, int64_t ldc, const GemmEpilogue<T>& epilogue = {}) {
  const GemmOperands<T> one{a, b, c};
  gemm_batched<T>({&one, 1}, trans_a, trans_b, m, n, k, alpha, lda, ldb, beta, ldc, epilogue);
}

/// c[..., M, N] = a[..., M, K] b[..., K, N] (+ bias[N]). All have the same batch axes (stride 0 repeats a matrix), the
/// matrices of a and b have a usable matrix_layout, c is contiguous.
/// The tensors of `fused` are for a single product only; packed is of packed_weight().
ATLAS_INLINE void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& c, const FusedProduct& fused);

/// c = (a b) activation'(at) for a single product; `at` is contiguous and like c.
ATLAS_INLINE void matmul_times_derivative(const Tensor& a, const Tensor& b, Activation activation, const Tensor& at,
                                          Tensor& c);

/// weight[N, K] as matmul(x, weightᵀ) reads it, for this instruction set and inference_precision(); undefined where
/// that is not how it is done.
ATLAS_INLINE Tensor packed_weight(const Tensor& weight);

/// out[C] = sum over the rows of x[rows, C], whose rows may be apart but are contiguous.
ATLAS_INLINE void column_sums(const Tensor& x, Tensor& out);

}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& c, const FusedProduct& fused);
void matmul_times_derivative(const Tensor& a, const Tensor& b, Activation activation, const Tensor& at, Tensor& c);
void column_sums(const Tensor& x, Tensor& out);

/// Whether products and convolutions of float32 may round their operands to TF32 (10 bits of mantissa), several times
/// faster. Default: when ATLAS_CUDA_TF32=1 is in the environment.
void set_tf32(bool allowed);
bool tf32();
/// Whether products, convolutions and attention of float32 may take three products of TF32 for one, which lose no
/// digits but turn an infinity into a NaN. Default: unless ATLAS_CUDA_TF32X3=0 is in the environment.
void set_tf32x3(bool allowed);
bool tf32x3();
}  // namespace cuda

namespace cpu::plain {  // the same as plain loops, in atlas/reference/
ATLAS_INLINE void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& c, const FusedProduct& fused);
ATLAS_INLINE void matmul_times_derivative(const Tensor& a, const Tensor& b, Activation activation, const Tensor& at,
                                          Tensor& c);
}  // namespace cpu::plain

namespace kernels {

inline double matmul_flops(const Tensor& a, const Tensor&, const Tensor&, Tensor& c, const FusedProduct&) {
  return 2.0 * static_cast<double>(c.numel() * a.size(-1));
}
inline constexpr Kernel<cpu::matmul, cuda::matmul, cpu::plain::matmul> matmul{"matmul", "matmul", matmul_flops};
inline double derivative_flops(const Tensor& a, const Tensor&, Activation, const Tensor&, Tensor& c) {
  return 2.0 * static_cast<double>(c.numel() * a.size(-1));
}
inline constexpr Kernel<cpu::matmul_times_derivative, cuda::matmul_times_derivative,
                        cpu::plain::matmul_times_derivative>
    matmul_times_derivative{"matmul", "matmul", derivative_flops};
/// Packing a weight costs about as much as multiplying it with 60 rows: it is kept for products of at most so many,
/// where that is 8 % or more; what is kept takes the memory of the weights once more.
inline constexpr int64_t kPackedRows = 768;
inline bool worth_packing(int64_t rows) { return rows <= kPackedRows || inference_precision() == bfloat16; }
/// A weight prepared for `rows` rows at a time; undefined when that would not show. In bfloat16 (whose dtype it then
/// has) always defined, because that is what chooses the precision of the product.
inline Tensor packed_weight(const Tensor& weight, int64_t rows) {
  return weight.device().is_cuda() || plain_kernels() || !worth_packing(rows) ? Tensor() : cpu::packed_weight(weight);
}
inline constexpr Kernel<cpu::column_sums, cuda::column_sums> column_sums{"column_sums", "column_sums"};

}  // namespace kernels

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/gemm-inl.h"
#include "atlas/reference/gemm-inl.h"
#endif
