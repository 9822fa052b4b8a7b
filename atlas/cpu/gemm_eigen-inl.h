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

/// The transpose of x [rows, columns], row by row.
inline const double* transposed(const double* x, int64_t rows, int64_t columns, int64_t step, double* to) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) to[j * rows + i] = x[i * step + j];
  return to;
}

/// gemm_serial() by Eigen. Transposed operands are copied first: one kind of product is a quarter of the templates.
inline void eigen_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha, const double* a,
                       int64_t lda, const double* b, int64_t ldb, double beta, double* c, int64_t ldc) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Step = Eigen::OuterStride<>;
  using Input = Eigen::Map<const Matrix, Eigen::Unaligned, Step>;
  if (m == 0 || n == 0) return;
  Eigen::Map<Matrix, Eigen::Unaligned, Step> out(c, m, n, Step(ldc));
  if (beta == 0)
    out.setZero();
  else if (beta != 1)
    out *= beta;
  if (k == 0) return;
  double* copies = trans_a || trans_b ? workspace<double>((m + n) * k, kSlotTransposed) : nullptr;
  if (trans_a) a = transposed(a, k, m, std::exchange(lda, k), copies);
  if (trans_b) b = transposed(b, n, k, std::exchange(ldb, n), copies + m * k);
  out.noalias() += alpha * Input(a, m, k, Step(lda)) * Input(b, k, n, Step(ldb));
}

}  // namespace atlas::inline ATLAS_ABI::cpu::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
