// The parts of the CPU's own matrix product that other kernels build on: how lengths are cut, products with a packed
// right side, and a whole product on the calling thread.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/cpu/simd.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Longest pieces: 168 rows x 384 of A are 252 KiB, 384 x 512 of B 768 KiB at most, a panel of B 48 KiB. 168 is a
/// whole number of register tiles of every instruction set.
inline constexpr int64_t kGemmRows = 168, kGemmDepth = 384, kGemmColumns = 512;
/// Workspace slots of a product, which may run inside a kernel that uses slots 0..5.
inline constexpr int kSlotRows = 6, kSlotPartial = 7, kSlotPanels = 8, kSlotShared = 9;

/// `total` cut into equal pieces of at most about `longest`; all but the last are whole numbers of `unit`.
struct Pieces {
  int64_t length, count;
  Pieces(int64_t total, int64_t longest, int64_t unit = 1) {
    const int64_t wanted = std::max<int64_t>(1, divide_up(total, std::max<int64_t>(1, longest)));
    length = std::max<int64_t>(1, divide_up(divide_up(total, wanted), unit) * unit);
    count = std::max<int64_t>(1, divide_up(total, length));
  }
};

inline bool use_eigen() {
  static const bool eigen = [] {
    const char* wanted = std::getenv("ATLAS_CPU_GEMM");
    return wanted != nullptr && std::strcmp(wanted, "eigen") == 0;
  }();
  return eigen;
}

/// Rows whose distance is near a multiple of 4 KiB fall into the same few lines of the first-level cache.
inline bool rows_collide(int64_t lda) {
  const int64_t rest = lda * static_cast<int64_t>(sizeof(float)) % 4096;
  return std::min(rest, 4096 - rest) < 128;
}

/// C[m, n] = alpha op(A) B (+ C) for packed panels of one slice of the depth, row block by row block.
inline void gemm_panels(bool trans_a, const float* a, int64_t lda, const float* panels, int64_t panel_step, int64_t m,
                        int64_t n, int64_t depth, float alpha, float* c, int64_t ldc, bool accumulate) {
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
    kernels.block(trans_a, left, left_step, panels, panel_step, count, n, depth, alpha, c + i0 * ldc, ldc, accumulate);
  }
}

/// op(B) [k, n] packed as a whole: [slice of k][panel][k of the slice][column of the panel].
struct PackedPanels {
  int64_t n, k, tile, panels;
  Pieces depths;

  PackedPanels(int64_t columns, int64_t depth)
      : n(columns), k(depth), tile(simd().tile_columns), panels(divide_up(n, tile)), depths(k, kGemmDepth) {}
  int64_t size() const { return panels * tile * k; }

  /// By all threads.
  void pack(bool trans_b, const float* b, int64_t ldb, float* out) const {
    const Simd& kernels = simd();
    parallel_for(depths.count * panels, std::max<int64_t>(1, 65536 / (depths.length * tile)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t k0 = i / panels * depths.length, n0 = i % panels * tile;
                     const int64_t depth = std::min(depths.length, k - k0);
                     kernels.pack(trans_b, trans_b ? b + n0 * ldb + k0 : b + k0 * ldb + n0, ldb, depth,
                                  std::min(tile, n - n0), out + k0 * panels * tile + n0 * depth, 0);
                   }
                 });
  }

  /// C[m, width] = alpha op(A) B (+ C) for the columns from n0 on, which begin a panel; on the calling thread.
  void multiply(bool trans_a, const float* a, int64_t lda, const float* packed, int64_t m, int64_t n0, int64_t width,
                float alpha, float* c, int64_t ldc, bool accumulate) const {
    for (int64_t k0 = 0; k0 < k; k0 += depths.length) {
      const int64_t depth = std::min(depths.length, k - k0);
      gemm_panels(trans_a, trans_a ? a + k0 * lda : a + k0, lda, packed + k0 * panels * tile + n0 * depth, depth * tile,
                  m, width, depth, alpha, c, ldc, k0 > 0 || accumulate);
    }
  }
};

/// C *= beta, C is m x n.
template <class T>
void scale_rows(T beta, int64_t m, int64_t n, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : c[i * ldc + j] * beta;
}

/// The epilogue for one block of C, in any type; float32 has its own vectorised one.
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

/// A single product whose B is packed once, by all threads, and then read by all of them. `packed` holds B when that
/// was done before.
inline void gemm_shared(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                        int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc,
                        const GemmEpilogue<float>& epilogue, const float* packed = nullptr) {
  const PackedPanels right(n, k);
  if (packed == nullptr) {
    float* mine = workspace<float>(right.size(), kSlotShared);
    right.pack(trans_b, b, ldb, mine);
    packed = mine;
  }
  // Few row blocks: each thread takes some of the columns as well.
  const Pieces rows(m, kGemmRows);
  const Pieces columns(n, std::max<int64_t>(64, divide_up(n, divide_up(16, rows.count))),
                       std::max<int64_t>(right.tile, 32));
  parallel_for(rows.count * columns.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t m0 = i / columns.count * rows.length, n0 = i % columns.count * columns.length;
      const int64_t height = std::min(rows.length, m - m0), width = std::min(columns.length, n - n0);
      float* to = c + m0 * ldc + n0;
      if (beta != 0.0f && beta != 1.0f) scale_rows(beta, height, width, to, ldc);
      right.multiply(trans_a, trans_a ? a + m0 : a + m0 * lda, lda, packed, height, n0, width, alpha, to, ldc,
                     beta != 0.0f);
      finish_block(epilogue, c, ldc, height, width, m0, n0);
    }
  });
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
