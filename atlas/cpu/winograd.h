// 3x3 convolution with stride 1 as Winograd's F(4x4, 3x3): the transforms and products of cpu/simd/winograd.inc, cut
// into blocks of tiles that stay in cache. float32 only; against float64 its error is about 4e-6, a direct sum's 2e-7.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "atlas/core/parallel.h"
#include "atlas/cpu/gemm_panels.h"
#include "atlas/kernels/conv.h"

namespace atlas::inline ATLAS_ABI::cpu::detail {

inline constexpr int kSlotFilters = 10, kSlotPoints = 11;  // of workspace(), besides those of a product

/// Estimated cost of the two ways, in multiply-adds of one core: arithmetic at full speed, and transforms by the floats
/// they move (a float costs about as much as 12 multiply-adds).
inline bool winograd_pays(const Conv2dShape& s) {
  const Conv2dShape::Pair ones{1, 1};
  if (s.kernel != Conv2dShape::Pair{3, 3} || s.stride != ones || s.dilation != ones || s.groups != 1) return false;
  if (s.padding[0] > 2 || s.padding[1] > 2) return false;
  const double pixels = static_cast<double>(s.out_pixels());
  const double tiles = static_cast<double>(s.batch * ((s.out[0] + 3) / 4) * ((s.out[1] + 3) / 4));
  const double in = static_cast<double>((s.in_channels + 15) / 16 * 16);
  const double out = static_cast<double>((s.out_channels + 15) / 16 * 16);
  const double direct = pixels * 9 * static_cast<double>(s.in_channels) * out;
  const double moved = 12 * 36 * (2 * tiles * (in + out) + 2 * in * out);
  return tiles * 36 * in * out + moved < direct;
}

/// ATLAS_CPU_CONV=direct turns Winograd off: plain sums, about 20 times closer to exact arithmetic.
inline bool winograd_allowed() {
  static const bool allowed = [] {
    const char* wanted = std::getenv("ATLAS_CPU_CONV");
    return wanted == nullptr || std::strcmp(wanted, "direct") != 0;
  }();
  return allowed && !exact_convolution() && !use_eigen();
}

/// Filters of `from` input and `to` output channels in points: 36 packed products' right sides, `size` floats.
struct WinogradFilters {
  int64_t panels, point_step, size;
  WinogradFilters(int64_t from, int64_t to)
      : panels(divide_up(to, simd().tile_columns)),
        point_step(panels * from * simd().tile_columns),
        size(36 * point_step) {}
};

/// U of the forward pass, weight[O,3,3,I], or of the input gradient: flipped, with the channels' roles swapped.
inline void winograd_filters(const float* weight, const Conv2dShape& s, bool input_gradient, float* u) {
  const Simd& kernels = simd();
  const int64_t tile = kernels.tile_columns;
  const int64_t from = input_gradient ? s.out_channels : s.in_channels;
  const int64_t to = input_gradient ? s.in_channels : s.out_channels;
  const WinogradFilters f(from, to);
  parallel_for(f.panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * tile, columns = std::min(tile, to - first);
      float* out = u + panel * from * tile;
      if (input_gradient) {  // a tap's neighbours in memory are dx's channels: the columns, as wanted
        kernels.winograd_filter(weight + 8 * to + first, -to, 9 * to, from, columns, out, f.point_step);
        continue;
      }
      float* turned = workspace<float>(9 * from * tile, kSlotPanels);  // [9 from][columns]
      kernels.pack(true, weight + first * 9 * from, 9 * from, 9 * from, columns, turned, 0);
      kernels.winograd_filter(turned, from * tile, tile, from, tile, out, f.point_step);
    }
  });
}

/// Tiles handled together: their points before and after the product take about `bytes`.
inline int64_t winograd_block(int64_t tiles, int64_t channels, int64_t bytes, int64_t unit) {
  const int64_t fit = bytes / (36 * 4 * channels);
  return std::max<int64_t>(1, std::min(tiles, std::max(unit, fit / unit * unit)));
}

/// y = epilogue(x * filters); for the input gradient x is dy and y is dx. `u` holds the transformed filters when that
/// was done before.
inline void winograd_convolve(const float* x, const float* weight, float* y, const Conv2dShape& s, bool input_gradient,
                              const GemmEpilogue<float>& epilogue = {}, const float* u = nullptr) {
  const Simd& kernels = simd();
  const WinogradTiles tiles(s, input_gradient);
  const int64_t from = input_gradient ? s.out_channels : s.in_channels;
  const int64_t to = input_gradient ? s.in_channels : s.out_channels;
  const WinogradFilters f(from, to);
  if (u == nullptr) {
    float* mine = workspace<float>(f.size, kSlotFilters);
    winograd_filters(weight, s, input_gradient, mine);
    u = mine;
  }

  // Both sides of the product in 2 MiB, at least two register tiles tall; blocks for several threads.
  const int64_t left_step = divide_up(from, 16) * 16 + 16,
                right_step = divide_up(to, kernels.tile_columns) * kernels.tile_columns + 16;
  const int64_t share = std::max<int64_t>(14, divide_up(tiles.count(), 8));
  const int64_t block = std::min(share, winograd_block(tiles.count(), left_step + right_step, int64_t{2} << 20, 14));
  const WinogradLayout left{block * left_step, left_step, left_step, left_step};
  const WinogradLayout right{block * right_step, right_step, right_step, right_step};
  parallel_for(tiles.count(), block, [&](int64_t first, int64_t last) {
    float* v = workspace<float>(36 * block * (left_step + right_step), kSlotPoints);
    float* m = v + 36 * block * left_step;
    kernels.winograd_input(tiles, x, from, first, last, v, left);
    for (int64_t p = 0; p < 36; ++p)
      kernels.block(false, v + p * left.point_step, left_step, u + p * f.point_step, from * kernels.tile_columns,
                    last - first, f.panels * kernels.tile_columns, from, 1.0f, m + p * right.point_step, right_step,
                    false);
    kernels.winograd_output(tiles, m, right, epilogue, to, first, last, y);
  });
}

/// dW[O,3,3,I]. Chunks of tiles are transformed by all threads; then each point's product adds to its dU.
inline void winograd_weight_gradient(const float* x, const float* dy, float* dw, const Conv2dShape& s) {
  const Simd& kernels = simd();
  const WinogradTiles tiles(s);
  const int64_t in = s.in_channels, out = s.out_channels, tile = kernels.tile_columns;
  const int64_t panels = divide_up(in, tile), out_step = divide_up(out, 16) * 16;
  const int64_t chunk =
      std::min<int64_t>(kGemmDepth, winograd_block(tiles.count(), panels * tile + out_step, int64_t{24} << 20, 16));
  const WinogradLayout right{panels * chunk * tile, tile, chunk * tile, tile};
  const WinogradLayout left{chunk * out_step, out_step, out_step, out_step};
  float* v = workspace<float>(36 * right.point_step, kSlotPoints);
  float* z = workspace<float>(36 * left.point_step, kSlotShared);
  float* du = workspace<float>(36 * out * in, kSlotFilters);
  const Pieces rows(out, kGemmRows);
  for (int64_t t0 = 0; t0 < tiles.count(); t0 += chunk) {
    const int64_t n = std::min(chunk, tiles.count() - t0);
    parallel_for(n, 8, [&](int64_t begin, int64_t end) {
      kernels.winograd_input(tiles, x, in, t0 + begin, t0 + end, v + begin * tile, right);
      kernels.winograd_output_adjoint(tiles, dy, out, t0 + begin, t0 + end, z + begin * out_step, left);
    });
    parallel_for(36 * rows.count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t p = i / rows.count, o = i % rows.count * rows.length;
        kernels.block(true, z + p * left.point_step + o, out_step, v + p * right.point_step, right.panel_step,
                      std::min(rows.length, out - o), in, n, 1.0f, du + (p * out + o) * in, in, t0 > 0);
      }
    });
  }
  parallel_for(out, std::max<int64_t>(1, 1024 / in), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) kernels.winograd_filter_adjoint(du + o * in, out * in, in, dw + o * 9 * in);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::detail
