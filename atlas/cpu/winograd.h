// 3x3 convolution with stride 1 as Winograd's F(m x m, 3x3), m = 4 or 6: the transforms and products of
// cpu/simd/winograd.inc, cut into chunks of tiles that stay in cache. float32 only.
//
// A chunk's tiles become n² = (m + 2)² matrices V [tiles, in] (transform), each is multiplied with its transformed
// filters U [in, out] (product), and the n² results M [tiles, out] become pixels (transform). Arithmetic is n² tiles in
// out multiply-adds, 1 / 4 of the plain sum's for m = 4 and 1 / 5.06 for m = 6. V and M of a chunk lie near the
// second-level cache when U (4 n² in out bytes) lies in the last-level one; otherwise chunks are larger
// (WinogradChunks). Within one point, a panel of U (32 columns) stays in the first-level cache while 14 rows of V at a
// time meet it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "atlas/core/parallel.h"
#include "atlas/cpu/gemm_panels.h"
#include "atlas/kernels/conv_shape.h"
#include "atlas/kernels/exact_convolution.h"

namespace atlas::inline ATLAS_ABI::cpu::detail {

inline constexpr int kSlotFilters = 10, kSlotPoints = 11;  // of workspace(), besides those of a product

/// ATLAS_CPU_CONV=direct turns Winograd off: plain sums, some 20 times closer to exact arithmetic.
inline bool winograd_allowed() {
  static const bool allowed = [] {
    const char* wanted = std::getenv("ATLAS_CPU_CONV");
    return wanted == nullptr || std::strcmp(wanted, "direct") != 0;
  }();
  return allowed && !exact_convolution();
}

enum class WinogradUse : uint8_t { forward, input_gradient, weight_gradient };

/// Outputs along the side of the tiles that cost least for this convolution: 4, 6, or 0 for a plain sum.
///
/// Costs are multiply-adds of one core: arithmetic at full speed, and transforms by the floats they move (one costs
/// about as much as 8 multiply-adds). The error against exact sums grows with the root of the terms, measured at 2e-7
/// and 3.9e-7 times it; forward passes must stay below 1e-5, while gradients have room.
inline int64_t winograd_side(const Conv2dShape& s, WinogradUse use) {
  const Conv2dShape::Pair ones{1, 1};
  if (!winograd_allowed() || s.out_pixels() == 0) return 0;
  if (s.kernel != Conv2dShape::Pair{3, 3} || s.stride != ones || s.dilation != ones || s.groups != 1) return 0;
  if (s.padding[0] > 2 || s.padding[1] > 2) return 0;
  const double in = static_cast<double>((s.in_channels + 15) / 16 * 16);
  const double out = static_cast<double>((s.out_channels + 15) / 16 * 16);
  double best = static_cast<double>(s.out_pixels()) * 9 * static_cast<double>(s.in_channels) * out;
  int64_t side = 0;
  for (int64_t m : {int64_t{4}, int64_t{6}}) {
    if (m == 6 && use == WinogradUse::forward && 3.9e-7 * std::sqrt(in) > 9e-6) continue;
    const WinogradTiles tiles(s, m, use == WinogradUse::input_gradient);
    const double points = static_cast<double>(tiles.points()), count = static_cast<double>(tiles.count());
    const double cost = points * (count * in * out + 8 * (2 * count * (in + out) + 2 * in * out));
    if (cost < best) {
      best = cost;
      side = m;
    }
  }
  return side;
}

/// Filters of `from` input and `to` output channels in points: one packed right side of a product each, `size` floats.
struct WinogradFilters {
  int64_t panels, point_step, size;
  WinogradFilters(int64_t from, int64_t to, int64_t points)
      : panels(divide_up(to, simd().tile_columns)),
        point_step(panels * from * simd().tile_columns),
        size(points * point_step) {}
};

/// U of the forward pass, weight[O,3,3,I], or of the input gradient: flipped, with the channels' roles swapped.
inline void winograd_filters(const float* weight, const Conv2dShape& s, int64_t side, bool input_gradient, float* u) {
  const Simd& kernels = simd();
  const int64_t tile = kernels.tile_columns;
  const int64_t from = input_gradient ? s.out_channels : s.in_channels;
  const int64_t to = input_gradient ? s.in_channels : s.out_channels;
  const WinogradFilters f(from, to, (side + 2) * (side + 2));
  const auto transform = kernels.winograd(side).filter;
  parallel_for(f.panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * tile, columns = std::min(tile, to - first);
      float* out = u + panel * from * tile;
      if (input_gradient) {  // a tap's neighbors in memory are dx's channels: the columns, as wanted
        transform(weight + 8 * to + first, -to, 9 * to, from, columns, out, f.point_step);
        continue;
      }
      float* turned = workspace<float>(9 * from * tile, kSlotPanels);  // [9 from][columns]
      kernels.pack(true, weight + first * 9 * from, 9 * from, 9 * from, columns, turned, 0);
      transform(turned, from * tile, tile, from, tile, out, f.point_step);
    }
  });
}

/// At least `floats`, in an odd number of cache lines: steps of this length visit all sets of a cache. (The points of
/// one tile a multiple of 4 KiB apart would share the few lines of one set.)
inline int64_t odd_lines(int64_t floats) { return (divide_up(floats, 16) | 1) * 16; }

/// Tiles handled together: their points before and after the product take about `bytes`.
inline int64_t winograd_chunk(const WinogradTiles& tiles, int64_t channels, int64_t bytes, int64_t unit) {
  const int64_t fit = bytes / (tiles.points() * 4 * channels) / unit * unit;
  return std::min(tiles.count(), std::max(unit, fit));
}

/// How tiles are cut into chunks. Each thread has its own while all filters stay in the last-level cache: few tiles,
/// whose points are never far. Filters that do not fit there come from memory once per chunk, so all threads share
/// large ones; they also share when there are few tiles.
struct WinogradChunks {
  bool shared;
  int64_t tiles, grain;
  WinogradChunks(const WinogradTiles& all, int64_t channels, int64_t filters) {
    tiles = winograd_chunk(all, channels, int64_t{2} << 20, 14);
    shared = filters > int64_t{3} << 20 || divide_up(all.count(), tiles) < 8;
    if (shared) tiles = winograd_chunk(all, channels, int64_t{24} << 20, 14);
    grain = shared ? 4 : tiles;
  }
};

/// y = epilogue(x * filters); for the input gradient x is dy and y is dx. `u` holds the transformed filters when that
/// was done before.
inline void winograd_convolve(const float* x, const float* weight, float* y, const Conv2dShape& s, int64_t side,
                              bool input_gradient, const GemmEpilogue<float>& epilogue = {}, const float* u = nullptr) {
  const Simd& kernels = simd();
  const WinogradTiles tiles(s, side, input_gradient);
  const int64_t from = input_gradient ? s.out_channels : s.in_channels;
  const int64_t to = input_gradient ? s.in_channels : s.out_channels;
  const WinogradFilters f(from, to, tiles.points());
  const Scratch<float> mine(u == nullptr ? f.size : 0, kSlotFilters);
  if (u == nullptr) {
    winograd_filters(weight, s, side, input_gradient, mine.data());
    u = mine.data();
  }

  const int64_t left_step = odd_lines(from), right_step = odd_lines(f.panels * kernels.tile_columns);
  const WinogradChunks chunks(tiles, left_step + right_step, f.size);
  const WinogradLayout left{odd_lines(chunks.tiles * left_step), left_step, left_step, left_step, chunks.shared};
  const WinogradLayout right{odd_lines(chunks.tiles * right_step), right_step, right_step, right_step, chunks.shared};
  const auto convolve = [&](int64_t first, int64_t last) {
    float* v = workspace<float>(tiles.points() * (left.point_step + right.point_step), kSlotPoints);
    float* m = v + tiles.points() * left.point_step;
    parallel_for(last - first, chunks.grain, [&](int64_t begin, int64_t end) {
      kernels.winograd(side).input(tiles, x, from, first + begin, first + end, v + begin * left_step, left);
    });
    const Pieces rows(last - first, kGemmRows);
    parallel_for(tiles.points() * rows.count, chunks.shared ? 1 : tiles.points(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t p = i / rows.count, r = i % rows.count * rows.length;
        const int64_t j = i + num_threads(), r1 = j % rows.count * rows.length;  // where this thread may go on
        Ahead next;
        if (chunks.shared && j < tiles.points() * rows.count)
          next = {v + j / rows.count * left.point_step + r1 * left_step, std::min(rows.length, last - first - r1), from,
                  left_step};
        kernels.block(false, v + p * left.point_step + r * left_step, left_step, u + p * f.point_step,
                      from * kernels.tile_columns, std::min(rows.length, last - first - r),
                      f.panels * kernels.tile_columns, from, 1.0f, m + p * right.point_step + r * right_step,
                      right_step, false, next);
      }
    });
    parallel_for(last - first, chunks.grain, [&](int64_t begin, int64_t end) {
      kernels.winograd(side).output(tiles, m + begin * right_step, right, epilogue, to, first + begin, first + end, y);
    });
  };
  if (!chunks.shared) return parallel_for(tiles.count(), chunks.tiles, convolve);
  for (int64_t t = 0; t < tiles.count(); t += chunks.tiles) convolve(t, std::min(t + chunks.tiles, tiles.count()));
}

/// dW[O,3,3,I]. Chunks of tiles are transformed by all threads; then each point's product adds to its dU.
inline void winograd_weight_gradient(const float* x, const float* dy, float* dw, const Conv2dShape& s, int64_t side) {
  const Simd& kernels = simd();
  const WinogradTiles tiles(s, side);
  const int64_t in = s.in_channels, out = s.out_channels, tile = kernels.tile_columns, points = tiles.points();
  const int64_t panels = divide_up(in, tile), out_step = odd_lines(out);
  const int64_t chunk =
      std::min<int64_t>(kGemmDepth, winograd_chunk(tiles, panels * tile + out_step, int64_t{24} << 20, 16));
  const WinogradLayout right{odd_lines(panels * chunk * tile), tile, chunk * tile, tile, true};
  const WinogradLayout left{odd_lines(chunk * out_step), out_step, out_step, out_step, true};
  float* v = workspace<float>(points * right.point_step, kSlotPoints);
  float* z = workspace<float>(points * left.point_step, kSlotShared);
  const Scratch<float> sum(points * out * in, kSlotFilters);
  float* du = sum.data();
  const Pieces rows(out, kGemmRows);
  for (int64_t t0 = 0; t0 < tiles.count(); t0 += chunk) {
    const int64_t n = std::min(chunk, tiles.count() - t0);
    parallel_for(n, 8, [&](int64_t begin, int64_t end) {
      kernels.winograd(side).input(tiles, x, in, t0 + begin, t0 + end, v + begin * tile, right);
      kernels.winograd(side).output_adjoint(tiles, dy, out, t0 + begin, t0 + end, z + begin * out_step, left);
    });
    parallel_for(points * rows.count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t p = i / rows.count, o = i % rows.count * rows.length;
        kernels.block(true, z + p * left.point_step + o, out_step, v + p * right.point_step, right.panel_step,
                      std::min(rows.length, out - o), in, n, 1.0f, du + (p * out + o) * in, in, t0 > 0, {});
      }
    });
  }
  parallel_for(out, std::max<int64_t>(1, 1024 / in), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      kernels.winograd(side).filter_adjoint(du + o * in, out * in, in, dw + o * 9 * in);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::detail
