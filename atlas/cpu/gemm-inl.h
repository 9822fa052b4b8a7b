// GEMM on the CPU: Eigen computes fixed tiles of C, our thread pool hands them out. The only kernel file that sees
// Eigen.
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

#include <algorithm>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/kernels/gemm.h"

namespace atlas::inline ATLAS_ABI::cpu {

template <class T>
void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
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

namespace detail {

/// Lengths of the pieces that a GEMM is cut into; a function of the sizes alone.
struct GemmTiles {
  int64_t m, n, k;                    // lengths of a tile
  int64_t m_count, n_count, k_count;  // tiles along each axis

  GemmTiles(int64_t batch, int64_t rows, int64_t columns, int64_t depth, int64_t item) {
    // Packing costs 1 / m + 1 / n of the arithmetic: tiles this large hide it, and there are still enough of them.
    m = even_piece(rows, 192);
    n = even_piece(columns, 512);
    m_count = count(rows, m);
    n_count = count(columns, n);
    // Weight gradients have few tiles and a huge depth: cut the depth, too. The partial sums may take 16 MiB.
    const int64_t wanted = 32 / std::max<int64_t>(1, batch * m_count * n_count);
    const int64_t room = (int64_t{16} << 20) / std::max<int64_t>(1, batch * rows * columns * item);
    k_count = std::max<int64_t>(1, std::min({wanted, room, depth / 1024}));
    k = std::max<int64_t>(1, count(depth, k_count));
    k_count = std::max<int64_t>(1, count(depth, k));
  }

 private:
  static int64_t count(int64_t total, int64_t piece) { return (total + piece - 1) / piece; }
  /// `total` in equal pieces of at most about `longest`, rounded up to whole vectors.
  static int64_t even_piece(int64_t total, int64_t longest) {
    const int64_t pieces = std::max<int64_t>(1, count(total, longest));
    return std::max<int64_t>(1, (count(total, pieces) + 15) / 16 * 16);
  }
};

}  // namespace detail

template <class T>
void gemm_batched(std::span<const GemmOperands<T>> batch, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                  T alpha, int64_t lda, int64_t ldb, T beta, int64_t ldc, const T* bias) {
  const int64_t items = static_cast<int64_t>(batch.size());
  if (items == 0 || m == 0 || n == 0) return;
  const detail::GemmTiles tiles(items, m, n, k, sizeof(T));
  // Slices of the depth after the first have their own copies of C, added in order at the end.
  T* const partial = tiles.k_count > 1 ? workspace<T>((tiles.k_count - 1) * items * m * n, 7) : nullptr;

  const auto tile = [&](int64_t index) {
    const int64_t slice = index % tiles.k_count, column = index / tiles.k_count % tiles.n_count;
    const int64_t row = index / (tiles.k_count * tiles.n_count) % tiles.m_count;
    const int64_t item = index / (tiles.k_count * tiles.n_count * tiles.m_count);
    const int64_t m0 = row * tiles.m, n0 = column * tiles.n, k0 = slice * tiles.k;
    const int64_t mt = std::min(tiles.m, m - m0), nt = std::min(tiles.n, n - n0), kt = std::min(tiles.k, k - k0);
    const GemmOperands<T>& op = batch[static_cast<size_t>(item)];
    const T* a = op.a + (trans_a ? k0 * lda + m0 : m0 * lda + k0);
    const T* b = op.b + (trans_b ? n0 * ldb + k0 : k0 * ldb + n0);
    if (slice > 0) {
      T* c = partial + (((slice - 1) * items + item) * m + m0) * n + n0;
      gemm_serial<T>(trans_a, trans_b, mt, nt, kt, alpha, a, lda, b, ldb, T(0), c, n);
      return;
    }
    T* c = op.c + m0 * ldc + n0;
    T scale = beta;
    if (bias != nullptr) {  // the tile starts from the bias instead of zero: one pass, in cache
      for (int64_t i = 0; i < mt; ++i) {
        T* to = c + i * ldc;
        const T* from = bias + n0;
        if (beta == T(0))
          std::copy(from, from + nt, to);
        else
          for (int64_t j = 0; j < nt; ++j) to[j] = beta * to[j] + from[j];
      }
      scale = T(1);
    }
    gemm_serial<T>(trans_a, trans_b, mt, nt, kt, alpha, a, lda, b, ldb, scale, c, ldc);
  };
  const int64_t total = items * tiles.m_count * tiles.n_count * tiles.k_count;
  const int64_t flops = std::max<int64_t>(1, 2 * std::min(m, tiles.m) * std::min(n, tiles.n) * std::min(k, tiles.k));
  parallel_for(total, std::max<int64_t>(1, 1'000'000 / flops), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) tile(i);
  });
  if (partial == nullptr) return;
  parallel_for(items * m, std::max<int64_t>(1, 16384 / n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T* c = batch[static_cast<size_t>(r / m)].c + r % m * ldc;
      for (int64_t s = 1; s < tiles.k_count; ++s) {
        const T* p = partial + ((s - 1) * items * m + r) * n;
        for (int64_t j = 0; j < n; ++j) c[j] += p[j];
      }
    }
  });
}

ATLAS_INLINE void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& c) {
  const int batch_axes = c.dim() - 2;
  const int64_t m = c.shape()[batch_axes], n = c.shape()[batch_axes + 1], k = a.shape()[batch_axes + 1];
  if (c.numel() == 0) return;
  const int64_t items = c.numel() / (m * n);
  const MatrixLayout la = matrix_layout(a), lb = matrix_layout(b);
  visit_float(c, "matmul", [&](auto tag) {
    using T = decltype(tag);
    std::vector<GemmOperands<T>> batch(static_cast<size_t>(items));
    for (int64_t i = 0; i < items; ++i) {
      int64_t rest = i, at = 0, bt = 0;
      for (int axis = batch_axes - 1; axis >= 0; --axis) {
        const int64_t index = rest % c.shape()[axis];
        rest /= c.shape()[axis];
        at += index * a.strides()[axis];
        bt += index * b.strides()[axis];
      }
      batch[static_cast<size_t>(i)] = {a.data<T>() + at, b.data<T>() + bt, c.data<T>() + i * m * n};
    }
    gemm_batched<T>(batch, la.transposed, lb.transposed, m, n, k, T(1), la.ld, lb.ld, T(0), n,
                    bias ? bias.data<T>() : nullptr);
  });
}

ATLAS_INLINE void column_sums(const Tensor& x, Tensor& out) {
  const int64_t rows = x.shape()[0], columns = x.shape()[1], step = x.strides()[0];
  if (columns == 0) return;
  visit_float(x, "column_sums", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    // At most 64 blocks of rows, each with its own sums: a fixed cut, whatever the number of threads.
    const int64_t block = std::max<int64_t>({1, (rows + 63) / 64, 16384 / columns});
    const int64_t blocks = (rows + block - 1) / block;
    T* sums = workspace<T>(std::max<int64_t>(blocks, 1) * columns, 7);
    parallel_for(rows, block, [&](int64_t begin, int64_t end) {
      T* s = sums + begin / block * columns;
      std::fill(s, s + columns, T(0));
      for (int64_t r = begin; r < end; ++r) {
        const T* row = from + r * step;
        for (int64_t j = 0; j < columns; ++j) s[j] += row[j];
      }
    });
    T* y = out.data<T>();
    std::fill(y, y + columns, T(0));
    for (int64_t i = 0; i < blocks; ++i)
      for (int64_t j = 0; j < columns; ++j) y[j] += sums[i * columns + j];
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
