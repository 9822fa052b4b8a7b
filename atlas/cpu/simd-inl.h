// The kernels of atlas/cpu/simd/*.inc, compiled once for each instruction set, and the table that picks one at run
// time. The .inc files hold the code; this file only repeats it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "atlas/core/isa.h"
#include "atlas/core/math.h"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/gemm.h"

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

/// Kernels of one instruction set; see atlas/cpu/simd/.
struct Simd {
  int64_t tile_columns;
  void (*block)(bool transposed, const float* a, int64_t lda, const float* panels, int64_t panel_step, int64_t m,
                int64_t n, int64_t depth, float alpha, float* c, int64_t ldc, bool accumulate);
  void (*pack)(bool transposed, const float* b, int64_t ldb, int64_t depth, int64_t n, float* out, int64_t panel_step);
  void (*finish)(const GemmEpilogue<float>& e, float* c, int64_t ldc, int64_t m, int64_t n, int64_t first,
                 int64_t offset);
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
