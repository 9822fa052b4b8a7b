// Products in bfloat16. The cutting is that of gemm_panels.h: op(B), the weights, lies packed in panels of pairs; C is
// cut into blocks of rows and columns; a block's part of A is rounded into a buffer of the second-level cache (168 rows
// x 768 numbers, 252 KiB) slice of the depth by slice, and the register tile of simd/bf16.inc walks over both. Rounding
// is one pass over A per block of columns; the arithmetic is 2 m n k operations, two per lane and instruction more than
// in float32.
#pragma once

#include <bit>

#include "atlas/cpu/bf16.h"
#include "atlas/cpu/gemm_panels.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::cpu {

/// Kernels of one instruction set; see simd/bf16.inc.
struct Bf16Kernels {
  int64_t tile_columns;
  void (*block)(const uint16_t* a, int64_t lda, const uint16_t* panels, int64_t panel_step, int64_t m, int64_t n,
                int64_t pairs, float* c, int64_t ldc, bool accumulate);
  void (*round)(const float* x, int64_t n, uint16_t* out);
};

#if defined(__x86_64__)
ATLAS_SIMD_BEGIN("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,avx2,fma")
namespace avx512_bf16 {
#define ATLAS_SIMD_LANES 16
#define ATLAS_SIMD_ROWS 14
#define ATLAS_SIMD_BF16
#include "atlas/cpu/simd/vector.inc"
// after the vectors
#include "atlas/cpu/simd/bf16.inc"
#undef ATLAS_SIMD_BF16
#undef ATLAS_SIMD_LANES
#undef ATLAS_SIMD_ROWS
}  // namespace avx512_bf16
ATLAS_SIMD_END

ATLAS_SIMD_BEGIN("avx2,fma")
namespace avx2 {
#define ATLAS_SIMD_LANES 8
#define ATLAS_SIMD_ROWS 6
#include "atlas/cpu/simd/bf16.inc"
#undef ATLAS_SIMD_LANES
#undef ATLAS_SIMD_ROWS
}  // namespace avx2
ATLAS_SIMD_END
#endif

namespace portable {
#define ATLAS_SIMD_LANES 4
#define ATLAS_SIMD_ROWS 6
#include "atlas/cpu/simd/bf16.inc"
#undef ATLAS_SIMD_LANES
#undef ATLAS_SIMD_ROWS
}  // namespace portable

namespace detail {

/// The kernels of the instruction set in use; AVX-512 without bfloat16 has those of AVX2.
inline const Bf16Kernels& bf16_kernels() {
#if defined(__x86_64__)
  static const bool dot = __builtin_cpu_supports("avx512bf16");
  if (cpu_isa() == CpuIsa::avx512 && dot) return avx512_bf16::kBf16Kernels;
  if (cpu_isa() != CpuIsa::portable) return avx2::kBf16Kernels;
#endif
  return portable::kBf16Kernels;
}

inline constexpr int64_t kBf16Depth = 768;  // numbers of a slice, the bytes of a float32 slice
inline constexpr int kSlotRounded = 6, kSlotImage = 9;

/// weight[n, k]ᵀ packed as a whole: [slice of k][panel][pair of the slice][column of the panel][2].
struct Bf16Panels {
  int64_t n, k, even, tile, panels;
  Pieces depths;

  Bf16Panels(int64_t columns, int64_t depth)
      : n(columns),
        k(depth),
        even((depth + 1) / 2 * 2),
        tile(bf16_kernels().tile_columns),
        panels(divide_up(n, tile)),
        depths(even, kBf16Depth, 2) {}
  int64_t size() const { return panels * tile * even; }

  void pack(const float* weight, int64_t row_step, uint16_t* out) const {
    const Bf16Kernels& kernels = bf16_kernels();
    parallel_for(panels, std::max<int64_t>(1, 65536 / (tile * std::max<int64_t>(1, even))),
                 [&](int64_t first, int64_t last) {
                   uint16_t* row = workspace<uint16_t>(even, kSlotRounded);
                   for (int64_t p = first; p < last; ++p) {
                     for (int64_t j = 0; j < tile; ++j) {
                       const int64_t column = p * tile + j;
                       std::fill_n(row, even, uint16_t{0});  // columns and the half of a pair that are not there
                       if (column < n) kernels.round(weight + column * row_step, k, row);
                       for (int64_t k0 = 0; k0 < even; k0 += depths.length) {
                         const int64_t depth = std::min(depths.length, even - k0);
                         uint16_t* to = out + k0 * panels * tile + p * tile * depth + 2 * j;
                         for (int64_t i = 0; i < depth; i += 2, to += 2 * tile) {
                           to[0] = row[k0 + i];
                           to[1] = row[k0 + i + 1];
                         }
                       }
                     }
                   }
                 });
  }

  /// C[m, width] = A B for the columns from n0 on, which begin a panel; on the calling thread. A[m, even] is rounded.
  void multiply(const uint16_t* a, int64_t lda, const uint16_t* packed, int64_t m, int64_t n0, int64_t width, float* c,
                int64_t ldc) const {
    for (int64_t k0 = 0; k0 < even; k0 += depths.length) multiply_slice(a + k0, lda, packed, k0, m, n0, width, c, ldc);
  }
  /// The part of a slice that begins at k0; the first overwrites C. `a` begins at the slice.
  void multiply_slice(const uint16_t* a, int64_t lda, const uint16_t* packed, int64_t k0, int64_t m, int64_t n0,
                      int64_t width, float* c, int64_t ldc) const {
    const int64_t depth = std::min(depths.length, even - k0);
    bf16_kernels().block(a, lda, packed + k0 * panels * tile + n0 * depth, depth * tile, m, width, depth / 2, c, ldc,
                         k0 > 0);
  }
};

inline const uint16_t* bf16_data(const Tensor& t) { return reinterpret_cast<const uint16_t*>(t.data<bf16>()); }

ATLAS_INLINE Tensor bf16_packed(const float* weight, int64_t row_step, int64_t n, int64_t k) {
  const Bf16Panels right(n, k);
  Tensor packed = empty({right.size()}, bfloat16);
  right.pack(weight, row_step, reinterpret_cast<uint16_t*>(packed.data<bf16>()));
  return packed;
}

ATLAS_INLINE void bf16_product(const float* a, int64_t lda, const Tensor& packed, int64_t m, int64_t n, int64_t k,
                               float* c, int64_t ldc, const GemmEpilogue<float>& epilogue) {
  if (m == 0 || n == 0) return;
  const Bf16Panels right(n, k);
  const Bf16Kernels& kernels = bf16_kernels();
  const GemmShares shares(m, n, std::max<int64_t>(right.tile, 32));
  const Pieces &rows = shares.rows, &columns = shares.columns;
  const int64_t step = right.depths.length + 32;  // not a multiple of 4 KiB, where rows would share cache lines
  parallel_for(rows.count * columns.count, 1, [&](int64_t begin, int64_t end) {
    uint16_t* rounded = workspace<uint16_t>(rows.length * step, kSlotRounded);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t m0 = i / columns.count * rows.length, n0 = i % columns.count * columns.length;
      const int64_t height = std::min(rows.length, m - m0), width = std::min(columns.length, n - n0);
      float* to = c + m0 * ldc + n0;
      for (int64_t k0 = 0; k0 < right.even; k0 += right.depths.length) {
        const int64_t depth = std::min(right.depths.length, k - k0);
        for (int64_t r = 0; r < height; ++r) {
          kernels.round(a + (m0 + r) * lda + k0, depth, rounded + r * step);
          if (depth % 2 != 0) rounded[r * step + depth] = 0;
        }
        right.multiply_slice(rounded, step, bf16_data(packed), k0, height, n0, width, to, ldc);
      }
      finish_block(epilogue, c, ldc, height, width, m0, n0);
    }
  });
}

/// Patches of output pixels [begin, end) as rows of s.depth() numbers, taps in order, channels innermost.
inline void bf16_gather(const uint16_t* images, const Conv2dShape& s, int64_t begin, int64_t end, uint16_t* out) {
  const int64_t channels = s.in_channels;
  int64_t ow = begin % s.out[1], oh = begin / s.out[1] % s.out[0], b = begin / (s.out[0] * s.out[1]);
  for (int64_t p = begin; p < end; ++p) {
    for (int64_t kh = 0; kh < s.kernel[0]; ++kh) {
      const int64_t h = oh * s.stride[0] + kh * s.dilation[0] - s.padding[0];
      const bool row_inside = h >= 0 && h < s.in[0];
      const uint16_t* line = row_inside ? images + (b * s.in[0] + h) * s.in[1] * channels : nullptr;
      const int64_t first = ow * s.stride[1] - s.padding[1];
      if (row_inside && s.dilation[1] == 1 && first >= 0 && first + s.kernel[1] <= s.in[1]) {
        out = std::copy_n(line + first * channels, s.kernel[1] * channels, out);  // neighbors are one piece of memory
        continue;
      }
      for (int64_t kw = 0; kw < s.kernel[1]; ++kw) {
        const int64_t w = first + kw * s.dilation[1];
        out = row_inside && w >= 0 && w < s.in[1] ? std::copy_n(line + w * channels, channels, out)
                                                  : std::fill_n(out, channels, uint16_t{0});
      }
    }
    if (++ow == s.out[1]) {
      ow = 0;
      if (++oh == s.out[0]) {
        oh = 0;
        ++b;
      }
    }
  }
}

// The images are rounded once, not once per tap; then blocks of patches, as in float32, are gathered and multiplied.
ATLAS_INLINE void bf16_convolve(const float* in, const Tensor& packed, float* out, const Conv2dShape& s,
                                const GemmEpilogue<float>& epilogue) {
  const int64_t rows = s.out_pixels(), depth = s.depth(), channels = s.out_channels;
  if (rows == 0) return;
  const Bf16Panels filters(channels, depth);
  const Bf16Kernels& kernels = bf16_kernels();
  const int64_t count = s.in_pixels() * s.in_channels;
  uint16_t* images = workspace<uint16_t>(count, kSlotImage);
  parallel_for(count, 65536,
               [&](int64_t begin, int64_t end) { kernels.round(in + begin, end - begin, images + begin); });
  const Pieces blocks(rows,
                      std::clamp<int64_t>((int64_t{512} << 10) / (2 * depth), 96, std::max<int64_t>(96, rows / 16)));
  const Pieces pieces(channels, blocks.count >= 8 ? channels : std::max<int64_t>(128, channels * blocks.count / 8),
                      std::max<int64_t>(filters.tile, 32));
  parallel_for(blocks.count * pieces.count, 1, [&](int64_t first, int64_t last) {
    uint16_t* patches = workspace<uint16_t>(blocks.length * depth, kSlotRounded);
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i / pieces.count * blocks.length, n = std::min(blocks.length, rows - begin);
      const int64_t o = i % pieces.count * pieces.length, width = std::min(pieces.length, channels - o);
      bf16_gather(images, s, begin, begin + n, patches);
      filters.multiply(patches, depth, bf16_data(packed), n, o, width, out + begin * channels + o, channels);
      finish_block(epilogue, out, channels, n, width, begin, o);
    }
  });
}

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::cpu
