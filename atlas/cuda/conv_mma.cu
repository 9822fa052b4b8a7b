// Convolution on tensor cores, bfloat16: the product of gathered pixels and filters, without a matrix of patches in
// memory ("implicit GEMM"). Forward and input gradient; conv_mma_weight.cu has the weight gradient.
//
// A block has 128 pixels x 16 kN channels, its four warps 64 x 8 kN each. The sum runs over (tap, channel) in chunks of
// 32, which pass through a ring of four stages in shared memory: while one is multiplied, three are on their way. A row
// of a stage is 64 bytes, four pieces of 16; piece p of row r lies at p ^ (r / 2 % 4), so that neither the copies nor
// ldmatrix meet bank conflicts.
#include "atlas/cuda/conv_hopper.cuh"
#include "atlas/cuda/mma.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

inline constexpr int kThreads = 128, kPixels = 128, kChunk = 32, kStages = 4;
inline constexpr int kMostTaps = 32;  // one bit each

/// Where element k of row r lies in a stage.
__device__ inline int place(int r, int k) { return r * kChunk + (((k / 8) ^ (r / 2 % 4)) * 8 + k % 8); }

/// A pixel of the grid: where tap (0, 0) would read, and which taps are inside the image.
struct PixelTaps {
  const bf16* from;
  uint32_t inside = 0;
};
__device__ inline PixelTaps pixel_taps(const View<const bf16>& x, const Gather& g, const GatherDivisors& by,
                                       int64_t pixel) {
  if (pixel >= g.pixels()) return {x.p};
  const uint32_t i = static_cast<uint32_t>(pixel), line = by.w_grid(i), image = by.h_grid(line);
  const int h0 = static_cast<int>(line - image * by.h_grid.d) * g.h.mult + g.h.offset;
  const int w0 = static_cast<int>(i - line * by.w_grid.d) * g.w.mult + g.w.offset;
  PixelTaps p{x.p + ((int64_t{image} * g.h.source + h0) * g.w.source + w0) * g.channels};
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
template <int kPiece, int kColumns>
struct ChunkLoader {
  static constexpr int kAcross = kPiece == 1 ? 1 : kChunk / kPiece;  // threads along a row
  static constexpr int kLines = kThreads / kAcross;                  // rows that the block loads at once, 8 i of them
  static constexpr int kRows = kPixels / kLines, kFilters = (kColumns + kLines - 1) / kLines;

  const View<const bf16>&x, &w;
  const Gather& g;
  int depth, k, line, to;
  TapCursor cursor;
  PixelTaps rows[kRows];
  const bf16* filters_at[kFilters];

  __device__ ChunkLoader(const View<const bf16>& x_, const View<const bf16>& w_, const Gather& g_,
                         const GatherDivisors& by, int64_t i0, int64_t j0, int n, int depth_)
      : x(x_),
        w(w_),
        g(g_),
        depth(depth_),
        k(static_cast<int>(threadIdx.x) % kAcross * (kPiece == 1 ? kChunk : kPiece)),
        line(static_cast<int>(threadIdx.x) / kAcross),
        to(place(line, k)),
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
  __device__ void load(bf16* pixels, bf16* filters) {
    if constexpr (kPiece == 1)
      load_elements(pixels, filters);
    else
      load_pieces(pixels + to, filters + to);
    k += kChunk;
#pragma unroll
    for (int u = 0; u < kFilters; ++u) filters_at[u] += kChunk;
  }

 private:
  __device__ static void copy(bf16* to, const View<const bf16>& v, const bf16* from, bool valid) {
    if constexpr (kPiece == 8)
      cp_async_16(to, checked_copy(v, from, kPiece, valid), valid);
    else
      cp_async_8(to, checked_copy(v, from, kPiece, valid), valid);
  }
  __device__ void load_pieces(bf16* pixels, bf16* filters) {
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
  __device__ void load_elements(bf16* pixels, bf16* filters) {
#pragma unroll 1
    for (int piece = 0; piece < kChunk; piece += 8) {
      alignas(16) bf16 pixel[8], filter[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const bool in_depth = k + piece + i < depth;
        const bool valid = in_depth && (rows[0].inside >> cursor.tap & 1u) != 0;
        pixel[i] = valid ? *checked_copy(x, rows[0].from + cursor.at, 1, true) : bf16(0.0f);
        filter[i] = in_depth ? *checked_copy(w, filters_at[0] + piece + i, 1, true) : bf16(0.0f);
        cursor.advance(g, 1);
        if (cursor.tap >= kMostTaps) cursor.tap = kMostTaps - 1;  // behind the end of the sum
      }
      *reinterpret_cast<int4*>(pixels + place(line, piece)) = *reinterpret_cast<const int4*>(pixel);
      if (line < kColumns)
        *reinterpret_cast<int4*>(filters + place(line, piece)) = *reinterpret_cast<const int4*>(filter);
    }
  }
};

/// y[pixel, j] = finish(sum over k of gathered x[pixel, k] w[j, k]) for the n channels j of y.
template <int kPiece, int kN>
__global__ void __launch_bounds__(kThreads, 2)
    conv_mma_kernel(const View<const bf16> x, const View<const bf16> w, const View<bf16> y, const Epilogue<bf16> finish,
                    const Gather g, const GatherDivisors by, int n, int depth, int columns) {
  constexpr int kColumns = 16 * kN, kStage = (kPixels + kColumns) * kChunk, kStride = kColumns + 8;
  bf16* const ring = shared_memory<bf16>();
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kWarp, warp = tid / kWarp;
  const int64_t i0 = int64_t{blockIdx.x} / columns * kPixels, j0 = int64_t{blockIdx.x} % columns * kColumns;
  const int row0 = warp % 2 * 64, column0 = warp / 2 * (kColumns / 2);

  ChunkLoader<kPiece, kColumns> loader(x, w, g, by, i0, j0, n, depth);
  const int chunks = (depth + kChunk - 1) / kChunk;
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < chunks) loader.load(ring + s * kStage, ring + s * kStage + kPixels * kChunk);
    cp_async_commit();
  }

  // Where this lane's rows of ldmatrix begin; 16 rows further down pieces lie in the same order.
  const int a_at = place(row0 + lane % 16, lane / 16 * 8);
  const int b_at = kPixels * kChunk + place(column0 + lane / 16 * 8 + lane % 8, lane / 8 % 2 * 8);
  // A step of 16 along the sum exchanges pieces p and p + 2 (p ^ 2), by which an address differs in one bit.
  constexpr int kStep = 16;
  float sums[4][kN][4] = {};
  for (int c = 0; c < chunks; ++c) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // chunk c is there for all, and all are done with chunk c - 1, whose place is filled next
    if (const int next = c + kStages - 1; next < chunks) {
      bf16* const to = ring + next % kStages * kStage;
      loader.load(to, to + kPixels * kChunk);
    }
    cp_async_commit();
    const bf16* const stage = ring + c % kStages * kStage;
#pragma unroll
    for (int k = 0; k < kChunk; k += kStep) {
      uint32_t a[4][4], b[kN + 1][2];
      const bf16 *const pixels = stage + (a_at ^ k), *const filters = stage + (b_at ^ k);
#pragma unroll
      for (int i = 0; i < 4; ++i) ldmatrix_x4(a[i], pixels + i * 16 * kChunk);
#pragma unroll
      for (int j = 0; j + 1 < kN; j += 2) {
        uint32_t both[4];
        ldmatrix_x4(both, filters + j * 8 * kChunk);
        b[j][0] = both[0];
        b[j][1] = both[1];
        b[j + 1][0] = both[2];
        b[j + 1][1] = both[3];
      }
      // Lanes 16 to 31 give no addresses here.
      if constexpr (kN % 2 != 0) ldmatrix_x2(b[kN - 1], filters + (lane < 16 ? (kN - 1) * 8 * kChunk : 0));
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < kN; ++j) mma_bf16_16816(sums[i][j], a[i], b[j][0], b[j][1]);
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
        *reinterpret_cast<uint32_t*>(ring + row * kStride + column) = pack_bf16(first, second);
      }
    }
  }
  __syncthreads();
  const int64_t pixels = g.pixels();
#pragma unroll 1
  for (int i = tid; i < kPixels * kColumns / 8; i += kThreads) {
    const int row = i / (kColumns / 8), column = i % (kColumns / 8) * 8;
    const int64_t j = j0 + column;
    if (i0 + row >= pixels || j >= n) continue;
    const uint32_t pixel = static_cast<uint32_t>(i0 + row), line = by.w_grid(pixel), image = by.h_grid(line);
    const int64_t h = g.h.start + int64_t{line - image * by.h_grid.d} * g.h.spacing;
    const int64_t v = g.w.start + int64_t{pixel - line * by.w_grid.d} * g.w.spacing;
    const int64_t to = ((int64_t{image} * g.h.target + h) * g.w.target + v) * n + j;
    const bf16* from = ring + row * kStride + column;
    if (n % 8 == 0) {
      alignas(16) bf16 piece[8];
      *reinterpret_cast<int4*>(piece) = *reinterpret_cast<const int4*>(from);
      if (finish.residual) {
        alignas(16) bf16 other[8];
        *reinterpret_cast<int4*>(other) = *reinterpret_cast<const int4*>(finish.residual.at(to, 8));
#pragma unroll
        for (int u = 0; u < 8; ++u) piece[u] = store<bf16>(load(piece[u]) + load(other[u]));
      }
      *reinterpret_cast<int4*>(y.at(to, 8)) = *reinterpret_cast<const int4*>(piece);
    } else {
      for (int u = 0; u < 8 && j + u < n; ++u)
        y[to + u] = finish.residual ? store<bf16>(load(from[u]) + load(finish.residual[to + u])) : from[u];
    }
  }
}

/// Filters [O,KH,KW,I] as the input gradient of one phase reads them: to[I][tap of the phase][O].
__global__ void arrange_filters_kernel(const View<const bf16> weight, View<bf16> to, const Gather g, int kernel_h,
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
int best_width(int n, bool few) {
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

template <int kPiece, int kN>
void run(Device device, const View<const bf16>& x, const View<const bf16>& w, const View<bf16>& y,
         const Epilogue<bf16>& finish, const Gather& g, int n) {
  constexpr int kColumns = 16 * kN;
  const int64_t columns = (n + kColumns - 1) / kColumns, rows = (g.pixels() + kPixels - 1) / kPixels;
  const size_t ring = sizeof(bf16) * kStages * (kPixels + kColumns) * kChunk;
  const size_t result = sizeof(bf16) * kPixels * (kColumns + 8);
  launch({device, "conv2d", dim3(static_cast<unsigned>(columns * rows)), dim3(kThreads), std::max(ring, result)},
         conv_mma_kernel<kPiece, kN>, x, w, y, finish, g, GatherDivisors(g), n, static_cast<int>(g.depth()),
         static_cast<int>(columns));
}

void run(Device device, const View<const bf16>& x, const View<const bf16>& w, const View<bf16>& y,
         const Epilogue<bf16>& finish, const Gather& g, int n) {
  if (g.pixels() == 0 || conv_hopper(device, x, w, y, finish, g, n)) return;
  const int piece = g.count % 8 == 0 ? 8 : g.count % 4 == 0 ? 4 : 1;
  const int width = best_width(n, piece == 1);
  const auto of_width = [&](auto p) {
    constexpr int kPiece = decltype(p)::value;
    if constexpr (kPiece != 1) {
      if (width == 6) return run<kPiece, 6>(device, x, w, y, finish, g, n);
      if (width == 7) return run<kPiece, 7>(device, x, w, y, finish, g, n);
    }
    width == 4 ? run<kPiece, 4>(device, x, w, y, finish, g, n) : run<kPiece, 8>(device, x, w, y, finish, g, n);
  };
  if (piece == 8)
    of_width(std::integral_constant<int, 8>{});
  else if (piece == 4)
    of_width(std::integral_constant<int, 4>{});
  else
    of_width(std::integral_constant<int, 1>{});
}

}  // namespace

bool conv_mma_fits(const Conv2dShape& s) {
  return s.groups == 1 && s.kernel[0] * s.kernel[1] <= kMostTaps &&
         s.depth() * s.out_channels < (int64_t{1} << 31) - (1 << 16) &&
         // Distances between taps are counted in 32 bits.
         s.in[0] * s.in[1] * s.in_channels < (int64_t{1} << 30) &&
         s.out[0] * s.out[1] * s.out_channels < (int64_t{1} << 30) && s.kernel[0] * s.dilation[0] < (1 << 15) &&
         s.kernel[1] * s.dilation[1] < (1 << 15);
}

bool conv_mma_forward(const Tensor& x, const Tensor& weight, Tensor& y, const Conv2dShape& s,
                      const Epilogue<bf16>& finish) {
  if (!conv_mma_fits(s) || !wide_aligned({&x, &weight, &y})) return false;
  if (reinterpret_cast<uintptr_t>(finish.residual.p) % 16 != 0) return false;
  run(x.device(), view<const bf16>(x), view<const bf16>(weight), view<bf16>(y), finish, forward_gather(s),
      static_cast<int>(s.out_channels));
  return true;
}

bool conv_mma_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s) {
  if (!conv_mma_fits(s) || !wide_aligned({&dy, &dx})) return false;
  const int inputs = static_cast<int>(s.in_channels);
  const int64_t room = (weight.numel() + 7) / 8 * 8 + 8 * s.stride[0] * s.stride[1];
  bf16* arranged = workspace<bf16>(dy.device(), room);
  for (const Gather& g : backward_gathers(s)) {
    const int64_t count = g.depth() * inputs;
    const View<bf16> filters(arranged, count);
    launch({dy.device(), "conv2d", blocks_for(count, 256), dim3(256), 0, true}, arrange_filters_kernel,
           view<const bf16>(weight), filters, g, static_cast<int>(s.kernel[0]), static_cast<int>(s.kernel[1]), inputs);
    run(dy.device(), view<const bf16>(dy), {arranged, count}, view<bf16>(dx), {}, g, inputs);
    arranged += (count + 7) / 8 * 8;  // copies of 16 bytes start there
  }
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
