// Products of float64 through Eigen. The only kernel file that sees it.
#pragma once

#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE  // threads are ours: see core/parallel.h
#endif
// GCC 12 takes the undefined operands of its own AVX-512 intrinsics, inlined into Eigen, for uninitialized variables.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#if __has_include(<Eigen/Core>)
#include <Eigen/Core>
#else
#include <eigen3/Eigen/Core>  // where Debian puts it, so that no extra -I is needed
#endif

#include <cstdint>
#include <utility>

#include "atlas/core/workspace.h"
#include "atlas/cpu/gemm_panels.h"

namespace atlas::inline ATLAS_ABI::cpu::detail {

/// factor op(X) [rows, columns], row by row; x is X, or its transpose.
inline const double* scaled_copy(bool transposed, double factor, const double* x, int64_t rows, int64_t columns,
                                 int64_t step, double* to) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) to[i * columns + j] = factor * x[transposed ? j * step + i : i * step + j];
  return to;
}

/// gemm_serial() by Eigen. Operands that are transposed or scaled are copied first: every kind of product would bring
/// as many templates again.
inline void eigen_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha, const double* a,
                       int64_t lda, const double* b, int64_t ldb, double beta, double* c, int64_t ldc) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Step = Eigen::OuterStride<>;
  using Input = Eigen::Map<const Matrix, Eigen::Unaligned, Step>;
  if (m == 0 || n == 0) return;
  if (beta != 1) scale_rows(beta, m, n, c, ldc);
  if (k == 0) return;
  const bool copy_a = trans_a || alpha != 1;
  double* copies = copy_a || trans_b ? workspace<double>((m + n) * k, kSlotTransposed) : nullptr;
  if (copy_a) a = scaled_copy(trans_a, alpha, a, m, k, std::exchange(lda, k), copies);
  if (trans_b) b = scaled_copy(true, 1, b, k, n, std::exchange(ldb, n), copies + m * k);
  Eigen::Map<Matrix, Eigen::Unaligned, Step>(c, m, n, Step(ldc)).noalias() +=
      Input(a, m, k, Step(lda)) * Input(b, k, n, Step(ldb));
}

}  // namespace atlas::inline ATLAS_ABI::cpu::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
