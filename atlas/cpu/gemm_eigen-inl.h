// Products through Eigen: the engine of float64, and of float32 when ATLAS_CPU_GEMM=eigen asks for the readable
// reference. The only kernel file that sees Eigen.
#pragma once

#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE  // threads are ours: see core/parallel.h
#endif
// GCC 12 takes the undefined operands of its own AVX-512 intrinsics, inlined into Eigen, for uninitialised variables.
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

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::cpu::detail {

/// gemm_serial() by Eigen.
template <class T>
void eigen_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Step = Eigen::OuterStride<>;
  using Input = Eigen::Map<const Matrix, Eigen::Unaligned, Step>;
  if (m == 0 || n == 0) return;
  Eigen::Map<Matrix, Eigen::Unaligned, Step> out(c, m, n, Step(ldc));
  if (beta == T(0))
    out.setZero();
  else if (beta != T(1))
    out *= beta;
  if (k == 0) return;
  const Input left(a, trans_a ? k : m, trans_a ? m : k, Step(lda));
  const Input right(b, trans_b ? n : k, trans_b ? k : n, Step(ldb));
  if (trans_a && trans_b)
    out.noalias() += alpha * left.transpose() * right.transpose();
  else if (trans_a)
    out.noalias() += alpha * left.transpose() * right;
  else if (trans_b)
    out.noalias() += alpha * left * right.transpose();
  else
    out.noalias() += alpha * left * right;
}

}  // namespace atlas::inline ATLAS_ABI::cpu::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
