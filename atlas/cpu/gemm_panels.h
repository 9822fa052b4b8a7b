// The parts of the CPU's own matrix product that other kernels build on: how lengths are cut, products with a packed
// right side, and a whole product on the calling thread.
#pragma once

#include <algorithm>
#include <type_traits>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/cpu/simd.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Longest pieces: 252 rows x 384 of A are 378 KiB, 384 x 512 of B 768 KiB at most, a panel of B 48 KiB. 252 is a
/// whole number of register tiles of every instruction set. Of a B that all threads share, kGemmShared floats at a time
/// are packed, which the last-level cache holds.
inline constexpr int64_t kGemmRows = 252, kGemmDepth = 384, kGemmColumns = 512, kGemmShared = int64_t{1} << 20;
/// Workspace slots of a product, which may run inside a kernel that uses slots 0..5.
inline constexpr int kSlotRows = 6, kSlotPartial = 7, kSlotPanels = 8, kSlotShared = 9, kSlotTransposed = 10;

/// `total` cut into equal pieces of at most about `longest`; all but the last are whole numbers of `unit`.
struct Pieces {
  int64_t length, count;
  Pieces(int64_t total, int64_t longest, int64_t unit = 1) {
    const int64_t wanted = std::max<int64_t>(1, divide_up(total, std::max<int64_t>(1, longest)));
    length = std::max<int64_t>(1, divide_up(divide_up(total, wanted), unit) * unit);
    count = std::max<int64_t>(1, divide_up(total, length));
  }
};

/// Rows whose distance is near a multiple of 4 KiB fall into the same few lines of the first-level cache.
inline bool rows_collide(int64_t lda) {
  const int64_t rest = lda * static_cast<int64_t>(sizeof(float)) % 4096;
  return std::min(rest, 4096 - rest) < 128;
}

/// C[m, n] = alpha op(A) B (+ C) for packed panels of one slice of the depth, row block by row block.
inline void gemm_panels(bool trans_a, const float* a, int64_t lda, const float* panels, int64_t panel_step, int64_t m,
                        int64_t n, int64_t depth, float alpha, float* c, int64_t ldc, bool accumulate,
                        const Ahead& next = {}) {
  const Simd& kernels = simd();
  const Pieces rows(m, kGemmRows);
  for (int64_t i0 = 0; i0 < m; i0 += rows.length) {
    const int64_t count = std::min(rows.length, m - i0);
    const float* left = trans_a ? a + i0 : a + i0 * lda;
    int64_t left_step = lda;
    // A copy where the lines of a block lie badly and enough panels read it: transposed, each lies on a page of its
    // own.
    const bool copied =
        trans_a ? n > 4 * kernels.tile_columns : n > kernels.tile_columns && count > 1 && rows_collide(lda);
    if (copied) {
      const int64_t lines = trans_a ? depth : count, length = trans_a ? count : depth;
      left_step = divide_up(length, 32) * 32 + 16;  // an odd number of cache lines
      float* copy = workspace<float>(lines * left_step, kSlotRows);
      for (int64_t i = 0; i < lines; ++i) std::copy_n(left + i * lda, length, copy + i * left_step);
      left = copy;
    }
    kernels.block(trans_a, left, left_step, panels, panel_step, count, n, depth, alpha, c + i0 * ldc, ldc, accumulate,
                  i0 + count == m ? next : Ahead{});
  }
}

/// op(B) [k, n] packed as a whole: [slice of k][panel][k of the slice][column of the panel].
struct PackedPanels {
  int64_t n, k, tile, panels;
  Pieces depths;

  PackedPanels(int64_t columns, int64_t depth)
      : n(columns), k(depth), tile(simd().tile_columns), panels(divide_up(n, tile)), depths(k, kGemmDepth) {}
  int64_t size(int64_t depth) const { return panels * tile * depth; }
  int64_t size() const { return size(k); }

  /// Rows [from, to) of op(B), whole slices, by all threads.
  void pack(bool trans_b, const float* b, int64_t ldb, float* out, int64_t from, int64_t to) const {
    const Simd& kernels = simd();
    parallel_for(divide_up(to - from, depths.length) * panels, std::max<int64_t>(1, 65536 / (depths.length * tile)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t k0 = from + i / panels * depths.length, n0 = i % panels * tile;
                     const int64_t depth = std::min(depths.length, to - k0);
                     kernels.pack(trans_b, trans_b ? b + n0 * ldb + k0 : b + k0 * ldb + n0, ldb, depth,
                                  std::min(tile, n - n0), out + size(k0 - from) + n0 * depth, 0);
                   }
                 });
  }
  void pack(bool trans_b, const float* b, int64_t ldb, float* out) const { pack(trans_b, b, ldb, out, 0, k); }

  /// C[m, width] = alpha op(A) B (+ C) for the columns from n0 on, which begin a panel, and rows [from, to) of op(B),
  /// which are those packed; on the calling thread. `after` is the first row of A that this thread may read next.
  void multiply(bool trans_a, const float* a, int64_t lda, const float* packed, int64_t m, int64_t n0, int64_t width,
                float alpha, float* c, int64_t ldc, bool accumulate, int64_t from, int64_t to,
                const float* after = nullptr) const {
    const auto left = [&](const float* rows, int64_t k0) {
      const int64_t depth = std::min(depths.length, to - k0);
      rows += trans_a ? k0 * lda : k0;
      return trans_a ? Ahead{rows, depth, m, lda} : Ahead{rows, m, depth, lda};
    };
    for (int64_t k0 = from; k0 < to; k0 += depths.length) {
      const int64_t depth = std::min(depths.length, to - k0);
      Ahead next;
      if (k0 + depth < to) {
        next = left(a, k0 + depth);
      } else if (after != nullptr) {
        next = left(after, from);
      }
      gemm_panels(trans_a, left(a, k0).data, lda, packed + size(k0 - from) + n0 * depth, depth * tile, m, width, depth,
                  alpha, c, ldc, k0 > from || accumulate, next);
    }
  }
};

/// How a product is shared among threads: into blocks of rows and columns of C, a task each.
///
/// Of all cuts the cheapest is taken. A task is estimated to cost its multiply-adds, the reading of its rows of A for
/// every 16 columns, that of its columns of B for every 16 rows, and a constant. Every element of C is the same sum
/// however C is cut.
struct GemmShares {
  Pieces rows, columns;

  GemmShares(int64_t m, int64_t n, int64_t unit) : rows(m, kGemmRows), columns(n, n, unit) {
    const int64_t threads = num_threads(), least = rows.count;
    const int64_t enough = threads == 1 ? 1 : 4 * threads;  // tasks, so that none waits long for a slower thread
    double best = 0;
    for (int64_t i = least; i <= 2 * least + threads; ++i) {
      const Pieces r(m, divide_up(m, i));
      for (int64_t j = 1; j <= divide_up(n, 64); ++j) {
        const Pieces c(n, divide_up(n, j), unit);
        const int64_t tasks = r.count * c.count;
        const double cost = static_cast<double>(divide_up(tasks, threads) * ((r.length + 16) * (c.length + 16) + 1024));
        if (best == 0 || cost < best) best = cost, rows = r, columns = c;
        if (tasks >= enough) break;
      }
    }
  }
};

/// C *= beta, C is m x n.
template <class T>
void scale_rows(T beta, int64_t m, int64_t n, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : c[i * ldc + j] * beta;
}

/// The epilogue for one block of C, in any type; float32 has its own vectorized one.
template <class T>
void finish_block(const GemmEpilogue<T>& e, T* c, int64_t ldc, int64_t m, int64_t n, int64_t row, int64_t column) {
  if (e.empty()) return;
  const int64_t offset = row * ldc + column;
  c += offset;
  if constexpr (std::is_same_v<T, float>) {
    simd().finish(e, c, ldc, m, n, column, offset);
  } else {
    portable::finish(e, c, ldc, m, n, column, offset);
  }
}

/// C = epilogue(beta C), C is m x n: a product whose depth is 0.
template <class T>
void empty_product(int64_t m, int64_t n, T beta, T* c, int64_t ldc, const GemmEpilogue<T>& epilogue) {
  scale_rows(beta, m, n, c, ldc);
  finish_block(epilogue, c, ldc, m, n, 0, 0);
}

/// A single product whose right side is packed once, by all threads, and then read by all of them. `pack(panels, from,
/// to)` packs its rows [from, to), whole slices, like PackedPanels::pack(); `packed` holds all of it when that was done
/// before.
template <class Pack>
void gemm_shared_with(const Pack& pack, bool trans_a, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                      int64_t lda, float beta, float* c, int64_t ldc, const GemmEpilogue<float>& epilogue,
                      const float* packed = nullptr) {
  const PackedPanels right(n, k);
  const GemmShares shares(m, n, std::max<int64_t>(right.tile, 32));
  const Pieces &rows = shares.rows, &columns = shares.columns;
  const int64_t slice = right.depths.length;
  const int64_t step = packed ? k : std::max<int64_t>(1, kGemmShared / std::max<int64_t>(1, right.size(slice))) * slice;
  for (int64_t from = 0; from < k; from += step) {
    const int64_t to = std::min(k, from + step);
    const float* panels = packed;
    if (packed == nullptr) {
      float* mine = workspace<float>(right.size(std::min(step, k)), kSlotShared);
      pack(mine, from, to);
      panels = mine;
    }
    parallel_for(rows.count * columns.count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t m0 = i / columns.count * rows.length, n0 = i % columns.count * columns.length;
        const int64_t height = std::min(rows.length, m - m0), width = std::min(columns.length, n - n0);
        const int64_t m1 = (i + num_threads()) / columns.count * rows.length;
        const auto left = [&](int64_t row) { return trans_a ? a + row : a + row * lda; };
        float* to_c = c + m0 * ldc + n0;
        if (from == 0 && beta != 0.0f && beta != 1.0f) scale_rows(beta, height, width, to_c, ldc);
        right.multiply(trans_a, left(m0), lda, panels, height, n0, width, alpha, to_c, ldc, from > 0 || beta != 0.0f,
                       from, to, m1 + height <= m ? left(m1) : nullptr);
        if (to == k) finish_block(epilogue, c, ldc, height, width, m0, n0);
      }
    });
  }
}

/// The same for a matrix B.
inline void gemm_shared(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                        int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc,
                        const GemmEpilogue<float>& epilogue, const float* packed = nullptr) {
  const PackedPanels right(n, k);
  const auto pack = [&](float* out, int64_t from, int64_t to) { right.pack(trans_b, b, ldb, out, from, to); };
  gemm_shared_with(pack, trans_a, m, n, k, alpha, a, lda, beta, c, ldc, epilogue, packed);
}

inline void own_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                     int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0 || (beta != 0.0f && beta != 1.0f)) scale_rows(beta, m, n, c, ldc);
  const Simd& kernels = simd();
  const Pieces columns(n, kGemmColumns, kernels.tile_columns), depths(k, kGemmDepth);
  float* panels = workspace<float>(columns.length * depths.length, kSlotPanels);
  for (int64_t n0 = 0; n0 < n; n0 += columns.length) {
    const int64_t width = std::min(columns.length, n - n0);
    for (int64_t k0 = 0; k0 < k; k0 += depths.length) {
      const int64_t depth = std::min(depths.length, k - k0), step = depth * kernels.tile_columns;
      kernels.pack(trans_b, trans_b ? b + n0 * ldb + k0 : b + k0 * ldb + n0, ldb, depth, width, panels, step);
      gemm_panels(trans_a, trans_a ? a + k0 * lda : a + k0, lda, panels, step, m, width, depth, alpha, c + n0, ldc,
                  k0 > 0 || beta != 0.0f);
    }
  }
}

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::cpu
