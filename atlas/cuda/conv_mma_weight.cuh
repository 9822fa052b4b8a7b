// The weight gradient of convolution on tensor cores, bfloat16 and float32: dW[o, (tap, i)] = sum over pixels of
// dy[pixel, o] x[pixel at tap, i], a product whose sum runs over pixels. Both operands lie with the sum across their
// rows.
//
// A block has 32 kM filters x 128 (tap, channel), four warps of half of each; it sums a slice of the pixels, 32 of
// bfloat16 or 16 of float32 at a time, through a ring of four stages. Slices are added in order by a second kernel. A
// row of a stage is one pixel. bfloat16: 16 pieces of 16 bytes, piece p of row r at p ^ (r % 8), which ldmatrix turns
// over on the way to the registers. float32: ldmatrix cannot turn over 4 bytes, so each lane reads its numbers one by
// one, of pixel lane % 4 and column lane / 4; rows that are 8 numbers too long keep these in different banks.
#pragma once

#include "atlas/cuda/conv.cuh"
#include "atlas/cuda/multiply.cuh"
#include "atlas/cuda/product.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace conv_weight {

inline constexpr int kThreads = 128, kStages = 4, kRow = 128, kN = 8;
template <class T>
inline constexpr int kChunk = 64 / static_cast<int>(sizeof(T));
template <class T>
inline constexpr int kStride = sizeof(T) == 4 ? kRow + 8 : kRow;
template <class T>
inline constexpr int kStage = 2 * kChunk<T>* kStride<T>;

template <class T>
__device__ int place(int pixel, int i) {
  if constexpr (sizeof(T) == 4) return pixel * kStride<T> + i;
  return pixel * kRow + (((i / 8) ^ (pixel % 8)) * 8 + i % 8);
}

/// How the threads share the rows of a chunk: each has a piece of kPiece elements of every kLines-th row. Pieces of 16
/// and 8 bytes are copied asynchronously; kPiece = 1 is for channels that no such copy fits.
template <class T, int kPiece>
struct RowPieces {
  static constexpr int kAcross = kRow / kPiece, kLines = kThreads / kAcross, kCount = kChunk<T> / kLines;
  static constexpr int kUnroll = kPiece == 1 ? 16 : kCount;  // loads on their way at once

  __device__ static int line() { return static_cast<int>(threadIdx.x) / kAcross; }
  __device__ static int across() { return static_cast<int>(threadIdx.x) % kAcross * kPiece; }
  __device__ static void copy(T* to, const View<const T>& v, const T* from, bool valid) {
    if constexpr (kPiece * sizeof(T) == 16)
      cp_async_16(to, checked_copy(v, from, kPiece, valid), valid);
    else if constexpr (kPiece * sizeof(T) == 8)
      cp_async_8(to, checked_copy(v, from, kPiece, valid), valid);
    else
      *to = valid ? *checked_copy(v, from, 1, true) : T(0.0f);
  }
};

/// Brings pixels of dy into the ring: [pixel][filter], zeros behind the last filter of the tile and the last pixel.
template <class T, int kPiece>
struct GradientLoader : RowPieces<T, kPiece> {
  using P = RowPieces<T, kPiece>;
  const View<const T>& dy;
  int filters;
  uint32_t pixel, end;
  bool in_filters;
  const T* from;

  __device__ GradientLoader(const View<const T>& dy_, int filters_, int m0, int m_end, uint32_t begin, uint32_t end_)
      : dy(dy_),
        filters(filters_),
        pixel(begin + static_cast<uint32_t>(P::line())),
        end(end_),
        in_filters(m0 + P::across() < m_end),
        from(dy.p + m0 + P::across()) {}
  __device__ void load(T* to) {
#pragma unroll P::kUnroll
    for (int u = 0; u < P::kCount; ++u, pixel += P::kLines)
      P::copy(to + place<T>(P::line() + u * P::kLines, P::across()), dy,
              from + int64_t{static_cast<int>(pixel)} * filters, pixel < end && in_filters);
  }
};

/// Brings what the taps read at these pixels: [pixel][(tap, channel)]. A thread has one tap and channel for all pixels.
template <class T, int kPiece>
struct PatchLoader : RowPieces<T, kPiece> {
  using P = RowPieces<T, kPiece>;
  const View<const T>& x;
  const Gather& g;
  const Divisor &w_grid, &h_grid;
  int tap_h, tap_w;
  uint32_t pixel, end;
  const T* from;

  __device__ PatchLoader(const View<const T>& x_, const Gather& g_, const Divisor& w_grid_, const Divisor& h_grid_,
                         int j0, uint32_t begin, uint32_t end_)
      : x(x_), g(g_), w_grid(w_grid_), h_grid(h_grid_), pixel(begin + static_cast<uint32_t>(P::line())), end(end_) {
    const int j = j0 + P::across(), tap = j / g.count;
    tap_h = g.h.offset + tap / g.w.taps * g.h.step;
    tap_w = g.w.offset + tap % g.w.taps * g.w.step;
    from = x.p + j % g.count;
    if (j >= g.depth()) end = 0;  // nothing is valid
  }
  __device__ void load(T* to) {
#pragma unroll P::kUnroll
    for (int u = 0; u < P::kCount; ++u, pixel += P::kLines) {
      const uint32_t row = w_grid(pixel), image = h_grid(row);
      const int h = static_cast<int>(row - image * h_grid.d) * g.h.mult + tap_h;
      const int w = static_cast<int>(pixel - row * w_grid.d) * g.w.mult + tap_w;
      const bool valid = pixel < end && static_cast<uint32_t>(h) < static_cast<uint32_t>(g.h.source) &&
                         static_cast<uint32_t>(w) < static_cast<uint32_t>(g.w.source);
      const int source = (static_cast<int>(image) * g.h.source + h) * g.w.source + w;
      P::copy(to + place<T>(P::line() + u * P::kLines, P::across()), x, from + int64_t{source} * g.channels, valid);
    }
  }
};

/// The operands of this lane for 16 pixels of bfloat16 or 8 of float32, filters row0 ... and (tap, channel) column0 ...
template <int kM>
struct Operands16 {
  int a_at[kM], b_at[kN / 2];  // where this lane's rows of ldmatrix begin
  __device__ Operands16(int lane, int row0, int column0) {
#pragma unroll
    for (int i = 0; i < kM; ++i) a_at[i] = place<bf16>(lane / 16 * 8 + lane % 8, row0 + i * 16 + lane / 8 % 2 * 8);
#pragma unroll
    for (int j = 0; j < kN / 2; ++j)
      b_at[j] = kChunk<bf16> * kRow + place<bf16>(lane / 8 % 2 * 8 + lane % 8, column0 + j * 16 + lane / 16 * 8);
  }
  __device__ void load(uint32_t (&a)[kM][4], uint32_t (&b)[kN][2], const bf16* stage, int pixel) const {
#pragma unroll
    for (int i = 0; i < kM; ++i) ldmatrix<true>(a[i], stage + a_at[i] + pixel * kRow);
#pragma unroll
    for (int j = 0; j < kN; j += 2) {
      uint32_t both[4];
      ldmatrix<true>(both, stage + b_at[j / 2] + pixel * kRow);
      b[j][0] = both[0];
      b[j][1] = both[1];
      b[j + 1][0] = both[2];
      b[j + 1][1] = both[3];
    }
  }
};
template <int kM>
struct Operands32 {
  int a_at, b_at;
  __device__ Operands32(int lane, int row0, int column0)
      : a_at(place<float>(lane % 4, row0 + lane / 4)),
        b_at(place<float>(kChunk<float> + lane % 4, column0 + lane / 4)) {}
  __device__ void load(uint32_t (&a)[kM][4], uint32_t (&b)[kN][2], const float* stage, int pixel) const {
    const float *const left = stage + a_at + pixel * kStride<float>, *const right =
                                                                         stage + b_at + pixel * kStride<float>;
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int u = 0; u < 4; ++u)
        a[i][u] = std::bit_cast<uint32_t>(left[i * 16 + u % 2 * 8 + u / 2 * 4 * kStride<float>]);
#pragma unroll
    for (int j = 0; j < kN; ++j)
#pragma unroll
      for (int u = 0; u < 2; ++u) b[j][u] = std::bit_cast<uint32_t>(right[j * 8 + u * 4 * kStride<float>]);
  }
};

template <class T, class Mode, int kPieceDy, int kPieceX, int kM>
__global__ void __launch_bounds__(kThreads, 2)
    conv_mma_weight_kernel(const View<const T> dy, const View<const T> x, const View<float> partial, const Gather g,
                           const Divisor w_grid, const Divisor h_grid, int filters, int columns, int slices,
                           uint32_t slice) {
  T* const ring = shared_memory<T>();
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kWarp, warp = tid / kWarp;
  const int part = static_cast<int>(blockIdx.x) % slices, tile = static_cast<int>(blockIdx.x) / slices;
  const int m0 = tile / columns * 32 * kM, j0 = tile % columns * kRow;
  const int row0 = warp % 2 * 16 * kM, column0 = warp / 2 * 8 * kN;
  const uint32_t pixels = static_cast<uint32_t>(g.pixels()), begin = static_cast<uint32_t>(part) * slice;
  const uint32_t end = begin + slice < pixels ? begin + slice : pixels;
  const int chunks = begin < end ? static_cast<int>((end - begin + kChunk<T> - 1) / kChunk<T>) : 0;

  GradientLoader<T, kPieceDy> gradients(dy, filters, m0, min(filters, m0 + 32 * kM), begin, end);
  PatchLoader<T, kPieceX> patches(x, g, w_grid, h_grid, j0, begin, end);
  const auto load = [&](T* stage) {
    gradients.load(stage);
    patches.load(stage + kStage<T> / 2);
  };
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < chunks) load(ring + s * kStage<T>);
    cp_async_commit();
  }
  const std::conditional_t<sizeof(T) == 4, Operands32<kM>, Operands16<kM>> operands(lane, row0, column0);
  float sums[kM][kN][4] = {};
  for (int c = 0; c < chunks; ++c) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    if (const int next = c + kStages - 1; next < chunks) load(ring + next % kStages * kStage<T>);
    cp_async_commit();
    const T* const stage = ring + c % kStages * kStage<T>;
#pragma unroll
    for (int k = 0; k < kChunk<T>; k += kChunk<T> / 2) {
      uint32_t a[kM][4], b[kN][2];
      operands.load(a, b, stage, k);
      multiply(sums, a, b, Mode{});
    }
  }
  cp_async_wait<0>();

  const int depth = static_cast<int>(g.depth());
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int o = m0 + row0 + i * 16 + half * 8 + lane / 4;
      if (o >= filters) continue;
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        const int column = j0 + column0 + j * 8 + lane % 4 * 2;
        const int64_t to = (int64_t{part} * filters + o) * depth + column;
        const float first = sums[i][j][half * 2], second = sums[i][j][half * 2 + 1];
        if (depth % 2 == 0) {
          if (column < depth) *reinterpret_cast<float2*>(partial.at(to, 2)) = make_float2(first, second);
        } else {
          if (column < depth) partial[to] = first;
          if (column + 1 < depth) partial[to + 1] = second;
        }
      }
    }
}

/// Into how many slices the pixels are cut: as many as take the least time, by estimate, on a card of 132
/// multiprocessors, two blocks each. Depends on the sizes alone.
template <class T>
int64_t slices_for(int64_t tiles, int64_t pixels, int64_t results) {
  constexpr int64_t kAtOnce = 264;
  const int64_t most = std::min<int64_t>({2 * kAtOnce / tiles + 2, pixels / 256, (int64_t{64} << 20) / results});
  int64_t best = 1;
  constexpr double kTime = sizeof(T) == 4 ? 1.5 : 0.6;
  double least = 1e30;
  for (int64_t n = 1; n <= std::max<int64_t>(1, most); ++n) {
    // Microseconds: for a chunk where two blocks share a multiprocessor; then the sums of the slices are written
    // and read, 8 bytes at 2.5 TB/s, and added one after the other.
    const double rounds = static_cast<double>((tiles * n + kAtOnce - 1) / kAtOnce), slices = static_cast<double>(n);
    const double chunks = static_cast<double>((pixels / n + kChunk<T> - 1) / kChunk<T>);
    const double time = rounds * chunks * kTime + slices * (static_cast<double>(results) * 3.2e-6 + 0.06);
    if (time < least) {
      least = time;
      best = n;
    }
  }
  return best;
}

}  // namespace conv_weight

/// dW = sum over the gather's pixels, [filters, depth] at `out`. visit(f) calls f with what is copied at once of a
/// pixel of dy and of one of x, as types.
template <class T, class Mode, class Out, class Visit>
void run_conv_weight(Device device, const char* op, const View<const T>& dy, const View<const T>& x, const Gather& g,
                     int filters, Out* out, const Visit& visit) {
  using namespace conv_weight;
  // The height of tiles that leaves the least outside; lower ones read more.
  int height = 4;
  double least = 1e30;
  for (const auto& [m, price] : {std::pair{2, 1.2}, {3, 1.08}, {4, 1.0}}) {
    const double work = (filters + 32 * m - 1) / (32 * m) * 32 * m * price;
    if (work < least) {
      least = work;
      height = m;
    }
  }
  const int64_t columns = (g.depth() + kRow - 1) / kRow, rows = (filters + 32 * height - 1) / (32 * height);
  const int64_t count = filters * g.depth(), pixels = g.pixels();
  const int64_t wanted = slices_for<T>(columns * rows, pixels, count);
  const int64_t slice = ((pixels + wanted - 1) / wanted + kChunk<T> - 1) / kChunk<T> * kChunk<T>;
  const int64_t slices = (pixels + slice - 1) / slice;
  float* partial = workspace<float>(device, slices * count);
  const auto launch_as = [&](auto kernel) {
    launch({device, op, dim3(static_cast<unsigned>(columns * rows * slices)), dim3(kThreads),
            sizeof(T) * kStages * kStage<T>},
           kernel, dy, x, View<float>(partial, slices * count), g, Divisor(static_cast<uint32_t>(g.w.grid)),
           Divisor(static_cast<uint32_t>(g.h.grid)), filters, static_cast<int>(columns), static_cast<int>(slices),
           static_cast<uint32_t>(slice));
  };
  visit([&](auto piece_dy, auto piece_x) {
    constexpr int kDy = decltype(piece_dy)::value, kX = decltype(piece_x)::value;
    height == 2   ? launch_as(conv_mma_weight_kernel<T, Mode, kDy, kX, 2>)
    : height == 3 ? launch_as(conv_mma_weight_kernel<T, Mode, kDy, kX, 3>)
                  : launch_as(conv_mma_weight_kernel<T, Mode, kDy, kX, 4>);
  });
  sum_slices<Out>(device, op, partial, slices, out, count);
}

}  // namespace atlas::inline ATLAS_ABI::cuda
