// Convolution on tensor cores: the product of gathered pixels and filters, without a matrix of patches in memory
// ("implicit GEMM"). Forward and input gradient, bfloat16 (conv_mma.cu) and float32 (conv_tf32.cu); conv_mma_weight.cu
// has the weight gradient of bfloat16.
//
// A block has 128 pixels x 16 kN channels, its four warps 64 x 8 kN each. The sum runs over (tap, channel) in chunks of
// 64 bytes, which pass through a ring of four stages in shared memory: while one is multiplied, three are on their way.
// A row of a stage is one chunk, four pieces of 16 bytes; piece p of row r lies at p ^ (r / 2 % 4), so that neither the
// copies nor ldmatrix meet bank conflicts. ldmatrix brings 4 bytes of a row to a lane: two numbers of bfloat16, or one
// of float32, which is how the fragments of both kinds of products are laid out.
#pragma once

#include "atlas/cuda/conv.cuh"
#include "atlas/cuda/multiply.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

inline constexpr int kThreads = 128, kPixels = 128, kStages = 4;
inline constexpr int kMostTaps = 32;  // one bit each
template <class T>
inline constexpr int kWide = 16 / sizeof(T);  // elements of a piece of 16 bytes
template <class T>
inline constexpr int kChunk = 4 * kWide<T>;

/// Where element k of row r lies in a stage.
template <class T>
__device__ int place(int r, int k) {
  return r * kChunk<T> + (((k / kWide<T>)^(r / 2 % 4)) * kWide<T> + k % kWide<T>);
}

/// A pixel of the grid: where tap (0, 0) would read, and which taps are inside the image.
template <class T>
struct PixelTaps {
  const T* from;
  uint32_t inside = 0;
};
template <class T>
__device__ PixelTaps<T> pixel_taps(const View<const T>& x, const Gather& g, const GatherDivisors& by, int64_t pixel) {
  if (pixel >= g.pixels()) return {x.p};
  const uint32_t i = static_cast<uint32_t>(pixel), line = by.w_grid(i), image = by.h_grid(line);
  const int h0 = static_cast<int>(line - image * by.h_grid.d) * g.h.mult + g.h.offset;
  const int w0 = static_cast<int>(i - line * by.w_grid.d) * g.w.mult + g.w.offset;
  PixelTaps<T> p{x.p + ((int64_t{image} * g.h.source + h0) * g.w.source + w0) * g.channels};
  uint32_t bit = 1;
  for (int th = 0; th < g.h.taps; ++th) {
    const int h = h0 + th * g.h.step;
    for (int tw = 0; tw < g.w.taps; ++tw, bit <<= 1) {
      const int w = w0 + tw * g.w.step;
      if (h >= 0 && h < g.h.source && w >= 0 && w < g.w.source) p.inside |= bit;
    }
  }
  return p;
}

/// A position of the sum as (tap, channel) and as a distance in memory, moved on chunk by chunk.
struct TapCursor {
  int tap, tap_w, channel, at;
  __device__ TapCursor(const Gather& g, const GatherDivisors& by, int k) {
    tap = static_cast<int>(by.count(static_cast<uint32_t>(k)));
    channel = k - tap * g.count;
    const int tap_h = static_cast<int>(by.taps_w(static_cast<uint32_t>(tap)));
    tap_w = tap - tap_h * g.w.taps;
    at = (tap_h * g.h.step * g.w.source + tap_w * g.w.step) * g.channels + channel;
  }
  __device__ void advance(const Gather& g, int by) {
    channel += by;
    at += by;
    while (channel >= g.count) {
      channel -= g.count;
      at += g.w.step * g.channels - g.count;
      ++tap;
      if (++tap_w == g.w.taps) {
        tap_w = 0;
        at += (g.h.step * g.w.source - g.w.taps * g.w.step) * g.channels;
      }
    }
  }
};

/// Brings chunks of pixels and filters into the ring. Pieces of kPiece elements are copied asynchronously; with
/// kPiece = 1 (channels that no such copy fits) each thread reads one row by ordinary loads. Rows of filters behind the
/// last are some others: nobody looks at their results.
template <class T, int kPiece, int kColumns>
struct ChunkLoader {
  static constexpr int kChunk = cuda::kChunk<T>;
  static constexpr int kAcross = kPiece == 1 ? 1 : kChunk / kPiece;  // threads along a row
  static constexpr int kLines = kThreads / kAcross;                  // rows that the block loads at once, 8 i of them
  static constexpr int kRows = kPixels / kLines, kFilters = (kColumns + kLines - 1) / kLines;

  const View<const T>&x, &w;
  const Gather& g;
  int depth, k, line, to;
  TapCursor cursor;
  PixelTaps<T> rows[kRows];
  const T* filters_at[kFilters];

  __device__ ChunkLoader(const View<const T>& x_, const View<const T>& w_, const Gather& g_, const GatherDivisors& by,
                         int64_t i0, int64_t j0, int n, int depth_)
      : x(x_),
        w(w_),
        g(g_),
        depth(depth_),
        k(static_cast<int>(threadIdx.x) % kAcross * (kPiece == 1 ? kChunk : kPiece)),
        line(static_cast<int>(threadIdx.x) / kAcross),
        to(place<T>(line, k)),
        cursor(g_, by, k) {
#pragma unroll
    for (int u = 0; u < kRows; ++u) rows[u] = pixel_taps(x, g, by, i0 + line + u * kLines);
#pragma unroll
    for (int u = 0; u < kFilters; ++u) {
      const int64_t j = j0 + line + u * kLines;
      filters_at[u] = w.p + (j < n ? j : n - 1) * depth + k;
    }
  }

  /// The next chunk, into `pixels` [kPixels][kChunk] and `filters` [kColumns][kChunk].
  __device__ void load(T* pixels, T* filters) {
    if constexpr (kPiece == 1)
      load_elements(pixels, filters);
    else
      load_pieces(pixels + to, filters + to);
    k += kChunk;
#pragma unroll
    for (int u = 0; u < kFilters; ++u) filters_at[u] += kChunk;
  }

 private:
  __device__ static void copy(T* to, const View<const T>& v, const T* from, bool valid) {
    if constexpr (kPiece == kWide<T>)
      cp_async_16(to, checked_copy(v, from, kPiece, valid), valid);
    else
      cp_async_8(to, checked_copy(v, from, kPiece, valid), valid);
  }
  __device__ void load_pieces(T* pixels, T* filters) {
    const bool in_depth = k < depth;
    const uint32_t bit = in_depth ? uint32_t{1} << cursor.tap : 0;
#pragma unroll
    for (int u = 0; u < kRows; ++u)
      copy(pixels + u * kLines * kChunk, x, rows[u].from + cursor.at, (rows[u].inside & bit) != 0);
#pragma unroll
    for (int u = 0; u < kFilters; ++u)
      if (kColumns % kLines == 0 || line + u * kLines < kColumns)
        copy(filters + u * kLines * kChunk, w, filters_at[u], in_depth);
    cursor.advance(g, kChunk);
  }
  __device__ void load_elements(T* pixels, T* filters) {
#pragma unroll 1
    for (int piece = 0; piece < kChunk; piece += kWide<T>) {
      alignas(16) T pixel[kWide<T>], filter[kWide<T>];
#pragma unroll
      for (int i = 0; i < kWide<T>; ++i) {
        const bool in_depth = k + piece + i < depth;
        const bool valid = in_depth && (rows[0].inside >> cursor.tap & 1u) != 0;
        pixel[i] = valid ? *checked_copy(x, rows[0].from + cursor.at, 1, true) : T(0.0f);
        filter[i] = in_depth ? *checked_copy(w, filters_at[0] + piece + i, 1, true) : T(0.0f);
        cursor.advance(g, 1);
        if (cursor.tap >= kMostTaps) cursor.tap = kMostTaps - 1;  // behind the end of the sum
      }
      *reinterpret_cast<int4*>(pixels + place<T>(line, piece)) = *reinterpret_cast<const int4*>(pixel);
      if (line < kColumns)
        *reinterpret_cast<int4*>(filters + place<T>(line, piece)) = *reinterpret_cast<const int4*>(filter);
    }
  }
};

/// y[pixel, j] = finish(sum over k of gathered x[pixel, k] w[j, k]) for the n channels j of y. Mode: how elements are
/// multiplied, the last argument of multiply().
template <class T, class Mode, int kPiece, int kN>
__global__ void __launch_bounds__(kThreads, 2)
    conv_mma_kernel(const View<const T> x, const View<const T> w, const View<T> y, const Epilogue<T> finish,
                    const Gather g, const GatherDivisors by, int n, int depth, int columns) {
  constexpr int kChunk = cuda::kChunk<T>, kWide = cuda::kWide<T>;
  constexpr int kColumns = 16 * kN, kStage = (kPixels + kColumns) * kChunk, kStride = kColumns + 8;
  T* const ring = shared_memory<T>();
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kWarp, warp = tid / kWarp;
  const int64_t i0 = int64_t{blockIdx.x} / columns * kPixels, j0 = int64_t{blockIdx.x} % columns * kColumns;
  const int row0 = warp % 2 * 64, column0 = warp / 2 * (kColumns / 2);

  ChunkLoader<T, kPiece, kColumns> loader(x, w, g, by, i0, j0, n, depth);
  const int chunks = (depth + kChunk - 1) / kChunk;
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < chunks) loader.load(ring + s * kStage, ring + s * kStage + kPixels * kChunk);
    cp_async_commit();
  }

  // Where this lane's rows of ldmatrix begin; 16 rows further down pieces lie in the same order.
  const int a_at = place<T>(row0 + lane % 16, lane / 16 * kWide);
  const int b_at = kPixels * kChunk + place<T>(column0 + lane / 16 * 8 + lane % 8, lane / 8 % 2 * kWide);
  const auto matrix_rows = [](const T* p) {
    return reinterpret_cast<const bf16*>(p);
  };  // of 16 bytes, whatever is in them
  // A step of two pieces along the sum exchanges pieces p and p + 2 (p ^ 2), by which an address differs in one bit.
  constexpr int kStep = 2 * kWide;
  float sums[4][kN][4] = {};
  for (int c = 0; c < chunks; ++c) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // chunk c is there for all, and all are done with chunk c - 1, whose place is filled next
    if (const int next = c + kStages - 1; next < chunks) {
      T* const to = ring + next % kStages * kStage;
      loader.load(to, to + kPixels * kChunk);
    }
    cp_async_commit();
    const T* const stage = ring + c % kStages * kStage;
#pragma unroll
    for (int k = 0; k < kChunk; k += kStep) {
      uint32_t a[4][4], b[kN + 1][2];
      const T *const pixels = stage + (a_at ^ k), *const filters = stage + (b_at ^ k);
#pragma unroll
      for (int i = 0; i < 4; ++i) ldmatrix(a[i], matrix_rows(pixels + i * 16 * kChunk));
#pragma unroll
      for (int j = 0; j + 1 < kN; j += 2) {
        uint32_t both[4];
        ldmatrix(both, matrix_rows(filters + j * 8 * kChunk));
        b[j][0] = both[0];
        b[j][1] = both[1];
        b[j + 1][0] = both[2];
        b[j + 1][1] = both[3];
      }
      // Lanes 16 to 31 give no addresses here.
      if constexpr (kN % 2 != 0) ldmatrix(b[kN - 1], matrix_rows(filters + (lane < 16 ? (kN - 1) * 8 * kChunk : 0)));
      multiply(sums, a, b, Mode{});
    }
  }

  // Through shared memory, so that whole rows of channels are written.
  cp_async_wait<0>();
  __syncthreads();
#pragma unroll
  for (int j = 0; j < kN; ++j) {
    const int column = column0 + j * 8 + lane % 4 * 2;
    const float bias0 = finish.bias && j0 + column < n ? load(finish.bias[j0 + column]) : 0.0f;
    const float bias1 = finish.bias && j0 + column + 1 < n ? load(finish.bias[j0 + column + 1]) : 0.0f;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float first = sums[i][j][half * 2] + bias0, second = sums[i][j][half * 2 + 1] + bias1;
        if (finish.activation != Activation::none) {
          first = activate(finish.activation, first);
          second = activate(finish.activation, second);
        }
        const int row = row0 + i * 16 + half * 8 + lane / 4;
        T* const to = ring + row * kStride + column;
        if constexpr (sizeof(T) == 2)
          *reinterpret_cast<uint32_t*>(to) = pack_bf16(first, second);
        else
          *reinterpret_cast<float2*>(to) = make_float2(first, second);
      }
    }
  }
  __syncthreads();
  const int64_t pixels = g.pixels();
#pragma unroll 1
  for (int i = tid; i < kPixels * kColumns / kWide; i += kThreads) {
    const int row = i / (kColumns / kWide), column = i % (kColumns / kWide) * kWide;
    const int64_t j = j0 + column;
    if (i0 + row >= pixels || j >= n) continue;
    const uint32_t pixel = static_cast<uint32_t>(i0 + row), line = by.w_grid(pixel), image = by.h_grid(line);
    const int64_t h = g.h.start + int64_t{line - image * by.h_grid.d} * g.h.spacing;
    const int64_t v = g.w.start + int64_t{pixel - line * by.w_grid.d} * g.w.spacing;
    const int64_t to = ((int64_t{image} * g.h.target + h) * g.w.target + v) * n + j;
    const T* from = ring + row * kStride + column;
    if (n % kWide == 0) {
      alignas(16) T piece[kWide];
      *reinterpret_cast<int4*>(piece) = *reinterpret_cast<const int4*>(from);
      if (finish.residual) {
        alignas(16) T other[kWide];
        *reinterpret_cast<int4*>(other) = *reinterpret_cast<const int4*>(finish.residual.at(to, kWide));
#pragma unroll
        for (int u = 0; u < kWide; ++u) piece[u] = store<T>(load(piece[u]) + load(other[u]));
      }
      *reinterpret_cast<int4*>(y.at(to, kWide)) = *reinterpret_cast<const int4*>(piece);
    } else {
      for (int u = 0; u < kWide && j + u < n; ++u)
        y[to + u] = finish.residual ? store<T>(load(from[u]) + load(finish.residual[to + u])) : from[u];
    }
  }
}

/// Filters [O,KH,KW,I] as the input gradient of one phase reads them: to[I][tap of the phase][O].
template <class T>
__global__ void arrange_filters_kernel(const View<const T> weight, View<T> to, const Gather g, int kernel_h,
                                       int kernel_w, int inputs) {
  // 32 bits are enough (conv_mma_fits()), and divide several times as fast as 64.
  const uint32_t outputs = static_cast<uint32_t>(g.count), taps_w = static_cast<uint32_t>(g.w.taps);
  const uint32_t taps = static_cast<uint32_t>(g.h.taps) * taps_w;
  const uint32_t count = static_cast<uint32_t>(inputs) * taps * outputs;
  for (uint32_t i = static_cast<uint32_t>(global_thread()); i < count; i += static_cast<uint32_t>(global_threads())) {
    const uint32_t row = i / outputs, o = i - row * outputs, input = row / taps, tap = row - input * taps;
    const int h = g.h.first + static_cast<int>(tap / taps_w) * g.h.tap_step;
    const int w = g.w.first + static_cast<int>(tap % taps_w) * g.w.tap_step;
    to[i] = weight[((int64_t{o} * kernel_h + h) * kernel_w + w) * inputs + input];
  }
}

/// The kernel's width for n channels: the one with the least work, wide ones reading less for it.
inline int best_width(int n, bool few) {
  int best = 8;
  double least = 1e30;
  for (const auto& [width, price] : {std::pair{4, 1.15}, {6, 1.05}, {7, 1.03}, {8, 1.0}}) {
    if (few && width % 4 != 0) continue;
    const double work = (n + 16 * width - 1) / (16 * width) * 16 * width * price;
    if (work < least) {
      least = work;
      best = width;
    }
  }
  return best;
}

template <class T, class Mode, int kPiece, int kN>
void run_conv_mma(Device device, const char* op, const View<const T>& x, const View<const T>& w, const View<T>& y,
                  const Epilogue<T>& finish, const Gather& g, int n) {
  constexpr int kColumns = 16 * kN;
  const int64_t columns = (n + kColumns - 1) / kColumns, rows = (g.pixels() + kPixels - 1) / kPixels;
  const size_t ring = sizeof(T) * kStages * (kPixels + kColumns) * kChunk<T>;
  const size_t result = sizeof(T) * kPixels * (kColumns + 8);
  launch({device, op, dim3(static_cast<unsigned>(columns * rows)), dim3(kThreads), std::max(ring, result)},
         conv_mma_kernel<T, Mode, kPiece, kN>, x, w, y, finish, g, GatherDivisors(g), n, static_cast<int>(g.depth()),
         static_cast<int>(columns));
}

template <class T, class Mode>
void run_conv_mma(Device device, const char* op, const View<const T>& x, const View<const T>& w, const View<T>& y,
                  const Epilogue<T>& finish, const Gather& g, int n) {
  const int piece = g.count % kWide<T> == 0 ? kWide<T> : g.count % 4 == 0 ? 4 : 1;
  const int width = best_width(n, piece == 1);
  const auto of_width = [&](auto p) {
    constexpr int kPiece = decltype(p)::value;
    if constexpr (kPiece != 1) {
      if (width == 6) return run_conv_mma<T, Mode, kPiece, 6>(device, op, x, w, y, finish, g, n);
      if (width == 7) return run_conv_mma<T, Mode, kPiece, 7>(device, op, x, w, y, finish, g, n);
    }
    width == 4 ? run_conv_mma<T, Mode, kPiece, 4>(device, op, x, w, y, finish, g, n)
               : run_conv_mma<T, Mode, kPiece, 8>(device, op, x, w, y, finish, g, n);
  };
  if (piece == kWide<T>)
    of_width(std::integral_constant<int, kWide<T>>{});
  else if (piece == 4)
    of_width(std::integral_constant<int, 4>{});
  else
    of_width(std::integral_constant<int, 1>{});
}

/// The input gradient, phase by phase: run(filters of the phase, gather) is its product.
template <class T, class Run>
void run_phases(const Tensor& weight, const Conv2dShape& s, const Run& run) {
  const int inputs = static_cast<int>(s.in_channels);
  constexpr int64_t kApart = 16 / sizeof(T);  // copies of 16 bytes start there
  T* arranged = workspace<T>(weight.device(), weight.numel() + kApart * (1 + s.stride[0] * s.stride[1]));
  for (const Gather& g : backward_gathers(s)) {
    const int64_t count = g.depth() * inputs;
    launch({weight.device(), "conv2d", blocks_for(count, 256), dim3(256), 0, true}, arrange_filters_kernel<T>,
           view<const T>(weight), View<T>(arranged, count), g, static_cast<int>(s.kernel[0]),
           static_cast<int>(s.kernel[1]), inputs);
    run(View<const T>(arranged, count), g);
    arranged += (count + kApart - 1) / kApart * kApart;
  }
}

}  // namespace atlas::inline ATLAS_ABI::cuda
