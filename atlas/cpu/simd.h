// The kernels of atlas/cpu/simd/*.inc, compiled once for each instruction set, and the table that picks one at run
// time. The .inc files hold the code; this file only repeats it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "atlas/core/isa.h"
#include "atlas/core/math.h"
#include "atlas/kernels/conv_shape.h"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/gemm_epilogue.h"

#define ATLAS_SIMD_FUNCTION [[gnu::always_inline]] inline
#ifdef __clang__
#define ATLAS_UNROLL _Pragma("unroll")
#define ATLAS_PRAGMA(text) _Pragma(#text)
#define ATLAS_SIMD_BEGIN(set) ATLAS_PRAGMA(clang attribute push(__attribute__((target(set))), apply_to = function))
#define ATLAS_SIMD_END _Pragma("clang attribute pop")
#else
#define ATLAS_UNROLL _Pragma("GCC unroll 36")
#define ATLAS_PRAGMA(text) _Pragma(#text)
#define ATLAS_SIMD_BEGIN(set) _Pragma("GCC push_options") ATLAS_PRAGMA(GCC target(set))
#define ATLAS_SIMD_END _Pragma("GCC pop_options")
#endif

namespace atlas::inline ATLAS_ABI::cpu {

/// Images cut into tiles of side x side outputs for Winograd's convolution.
struct WinogradTiles {
  struct Place {
    int64_t image, row, column;  // of the tile's first output
  };
  Conv2dShape::Pair in{}, out{}, padding{}, grid{};
  int64_t images = 0, side = 0;

  /// The convolution itself, or (input_gradient) the one that computes dx from dy.
  WinogradTiles(const Conv2dShape& s, int64_t outputs, bool input_gradient = false)
      : in(input_gradient ? s.out : s.in),
        out(input_gradient ? s.in : s.out),
        padding(s.padding),
        images(s.batch),
        side(outputs) {
    if (input_gradient) padding = {2 - s.padding[0], 2 - s.padding[1]};
    grid = {(out[0] + side - 1) / side, (out[1] + side - 1) / side};
  }
  int64_t count() const { return images * grid[0] * grid[1]; }
  /// Of the products that replace the sums.
  int64_t points() const { return (side + 2) * (side + 2); }
  Place place(int64_t t) const { return {t / (grid[0] * grid[1]), t / grid[1] % grid[0] * side, t % grid[1] * side}; }
};

/// Where transformed values lie: point p of (tile, channel) at p point_step + tile tile_step + channel / width
/// panel_step + channel % width, so rows of channels (panel_step = width) and panels of a product are both possible.
struct WinogradLayout {
  int64_t point_step, tile_step, panel_step, width;
  bool far;  ///< beyond the second-level cache
  int64_t at(int64_t tile, int64_t channel) const {
    return tile * tile_step + channel / width * panel_step + channel % width;
  }
};

/// Transforms of Winograd's convolution for one size of tiles; see atlas/cpu/simd/winograd.inc.
struct WinogradKernels {
  void (*input)(const WinogradTiles& w, const float* images, int64_t channels, int64_t first, int64_t last, float* out,
                const WinogradLayout& to);
  void (*output_adjoint)(const WinogradTiles& w, const float* images, int64_t channels, int64_t first, int64_t last,
                         float* out, const WinogradLayout& to);
  void (*output)(const WinogradTiles& w, const float* points, const WinogradLayout& from, const GemmEpilogue<float>& e,
                 int64_t channels, int64_t first, int64_t last, float* images);
  void (*filter)(const float* g, int64_t tap_step, int64_t step, int64_t depth, int64_t columns, float* u,
                 int64_t point_step);
  void (*filter_adjoint)(const float* du, int64_t point_step, int64_t count, float* dg);
};

/// A matrix that will be read soon: `rows` of `length` floats, `step` floats apart.
struct Ahead {
  const float* data = nullptr;
  int64_t rows = 0, length = 0, step = 0;
};

/// Kernels of one instruction set; see atlas/cpu/simd/.
struct Simd {
  int64_t tile_columns;
  void (*block)(bool transposed, const float* a, int64_t lda, const float* panels, int64_t panel_step, int64_t m,
                int64_t n, int64_t depth, float alpha, float* c, int64_t ldc, bool accumulate, const Ahead& next);
  void (*pack)(bool transposed, const float* b, int64_t ldb, int64_t depth, int64_t n, float* out, int64_t panel_step);
  void (*finish)(const GemmEpilogue<float>& e, float* c, int64_t ldc, int64_t m, int64_t n, int64_t first,
                 int64_t offset);
  float (*row_exp)(float* x, int64_t n, float shift);
  WinogradKernels winograd_4, winograd_6;
  const WinogradKernels& winograd(int64_t side) const { return side == 6 ? winograd_6 : winograd_4; }
};

#if defined(__x86_64__)
ATLAS_SIMD_BEGIN("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")
namespace avx512 {
#define ATLAS_SIMD_LANES 16
#define ATLAS_SIMD_ROWS 14
#include "atlas/cpu/simd/kernels.inc"
#undef ATLAS_SIMD_LANES
#undef ATLAS_SIMD_ROWS
}  // namespace avx512
ATLAS_SIMD_END

ATLAS_SIMD_BEGIN("avx2,fma")
namespace avx2 {
#define ATLAS_SIMD_LANES 8
#define ATLAS_SIMD_ROWS 6
#include "atlas/cpu/simd/kernels.inc"
#undef ATLAS_SIMD_LANES
#undef ATLAS_SIMD_ROWS
}  // namespace avx2
ATLAS_SIMD_END
#endif

namespace portable {
#define ATLAS_SIMD_LANES 4
#define ATLAS_SIMD_ROWS 6
#include "atlas/cpu/simd/kernels.inc"
#undef ATLAS_SIMD_LANES
#undef ATLAS_SIMD_ROWS
}  // namespace portable

/// The kernels of the instruction set in use.
inline const Simd& simd() {
#if defined(__x86_64__)
  if (cpu_isa() == CpuIsa::avx512) return avx512::kKernels;
  if (cpu_isa() == CpuIsa::avx2) return avx2::kKernels;
#endif
  return portable::kKernels;
}

}  // namespace atlas::inline ATLAS_ABI::cpu
