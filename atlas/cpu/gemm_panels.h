// The parts of the CPU's own matrix product that other kernels build on: how lengths are cut, products with a packed
// right side, and a whole product on the calling thread.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>

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
    if (!trans_a && n > kernels.tile_columns && count > 1 && rows_collide(lda)) {
      left_step = depth + 16;
      float* copy = workspace<float>(count * left_step, kSlotRows);
      for (int64_t i = 0; i < count; ++i) std::copy_n(left + i * lda, depth, copy + i * left_step);
      left = copy;
    }
    kernels.block(trans_a, left, left_step, panels, panel_step, count, n, depth, alpha, c + i0 * ldc, ldc, accumulate);
  }
}

/// C *= beta, C is m x n.
template <class T>
void scale_rows(T beta, int64_t m, int64_t n, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : c[i * ldc + j] * beta;
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
