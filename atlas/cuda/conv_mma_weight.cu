// The weight gradient of convolution on tensor cores, bfloat16: dW[o, (tap, i)] = sum over pixels of dy[pixel, o]
// x[pixel at tap, i], a product whose sum runs over pixels. Both operands lie with the sum across their rows, which
// ldmatrix turns over on the way to the registers.
//
// A block has 32 kM filters x 128 (tap, channel), four warps of half of each; it sums a slice of the pixels, 32 at a
// time, through a ring of four stages. Slices are added in order by a second kernel. A row of a stage is one pixel: 16
// pieces of 16 bytes, piece p of row r at p ^ (r % 8).
#include "atlas/cuda/conv.cuh"
#include "atlas/cuda/mma.cuh"
#include "atlas/cuda/product.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

inline constexpr int kThreads = 128, kChunk = 32, kStages = 4, kRow = 128, kN = 8;
inline constexpr int kStage = 2 * kChunk * kRow;

__device__ inline int place(int pixel, int i) { return pixel * kRow + (((i / 8) ^ (pixel % 8)) * 8 + i % 8); }

/// How the threads share the rows of a chunk: each has a piece of kPiece elements of every kLines-th row. Pieces of 8
/// and 4 are copied asynchronously; kPiece = 1 is for channels that no such copy fits.
template <int kPiece>
struct RowPieces {
  static constexpr int kAcross = kRow / kPiece, kLines = kThreads / kAcross, kCount = kChunk / kLines;
  static constexpr int kUnroll = kPiece == 1 ? 16 : kCount;  // loads on their way at once

  __device__ static int line() { return static_cast<int>(threadIdx.x) / kAcross; }
  __device__ static int across() { return static_cast<int>(threadIdx.x) % kAcross * kPiece; }
  __device__ static void copy(bf16* to, const View<const bf16>& v, const bf16* from, bool valid) {
    if constexpr (kPiece == 8)
      cp_async_16(to, checked_copy(v, from, 8, valid), valid);
    else if constexpr (kPiece == 4)
      cp_async_8(to, checked_copy(v, from, 4, valid), valid);
    else
      *to = valid ? *checked_copy(v, from, 1, true) : bf16(0.0f);
  }
};

/// Brings pixels of dy into the ring: [pixel][filter], zeros behind the last filter of the tile and the last pixel.
template <int kPiece>
struct GradientLoader : RowPieces<kPiece> {
  using P = RowPieces<kPiece>;
  const View<const bf16>& dy;
  int filters;
  uint32_t pixel, end;
  bool in_filters;
  const bf16* from;

  __device__ GradientLoader(const View<const bf16>& dy_, int filters_, int m0, int m_end, uint32_t begin, uint32_t end_)
      : dy(dy_),
        filters(filters_),
        pixel(begin + static_cast<uint32_t>(P::line())),
        end(end_),
        in_filters(m0 + P::across() < m_end),
        from(dy.p + m0 + P::across()) {}
  __device__ void load(bf16* to) {
#pragma unroll P::kUnroll
    for (int u = 0; u < P::kCount; ++u, pixel += P::kLines)
      P::copy(to + place(P::line() + u * P::kLines, P::across()), dy, from + int64_t{static_cast<int>(pixel)} * filters,
              pixel < end && in_filters);
  }
};

/// Brings what the taps read at these pixels: [pixel][(tap, channel)]. A thread has one tap and channel for all pixels.
template <int kPiece>
struct PatchLoader : RowPieces<kPiece> {
  using P = RowPieces<kPiece>;
  const View<const bf16>& x;
  const Gather& g;
  const Divisor &w_grid, &h_grid;
  int tap_h, tap_w;
  uint32_t pixel, end;
  const bf16* from;

  __device__ PatchLoader(const View<const bf16>& x_, const Gather& g_, const Divisor& w_grid_, const Divisor& h_grid_,
                         int j0, uint32_t begin, uint32_t end_)
      : x(x_), g(g_), w_grid(w_grid_), h_grid(h_grid_), pixel(begin + static_cast<uint32_t>(P::line())), end(end_) {
    const int j = j0 + P::across(), tap = j / g.count;
    tap_h = g.h.offset + tap / g.w.taps * g.h.step;
    tap_w = g.w.offset + tap % g.w.taps * g.w.step;
    from = x.p + j % g.count;
    if (j >= g.depth()) end = 0;  // nothing is valid
  }
  __device__ void load(bf16* to) {
#pragma unroll P::kUnroll
    for (int u = 0; u < P::kCount; ++u, pixel += P::kLines) {
      const uint32_t row = w_grid(pixel), image = h_grid(row);
      const int h = static_cast<int>(row - image * h_grid.d) * g.h.mult + tap_h;
      const int w = static_cast<int>(pixel - row * w_grid.d) * g.w.mult + tap_w;
      const bool valid = pixel < end && static_cast<uint32_t>(h) < static_cast<uint32_t>(g.h.source) &&
                         static_cast<uint32_t>(w) < static_cast<uint32_t>(g.w.source);
      const int source = (static_cast<int>(image) * g.h.source + h) * g.w.source + w;
      P::copy(to + place(P::line() + u * P::kLines, P::across()), x, from + int64_t{source} * g.channels, valid);
    }
  }
};

template <int kPieceDy, int kPieceX, int kM>
__global__ void __launch_bounds__(kThreads, 2)
    conv_mma_weight_kernel(const View<const bf16> dy, const View<const bf16> x, const View<float> partial,
                           const Gather g, const Divisor w_grid, const Divisor h_grid, int filters, int columns,
                           int slices, uint32_t slice) {
  bf16* const ring = shared_memory<bf16>();
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kWarp, warp = tid / kWarp;
  const int part = static_cast<int>(blockIdx.x) % slices, tile = static_cast<int>(blockIdx.x) / slices;
  const int m0 = tile / columns * 32 * kM, j0 = tile % columns * kRow;
  const int row0 = warp % 2 * 16 * kM, column0 = warp / 2 * 8 * kN;
  const uint32_t pixels = static_cast<uint32_t>(g.pixels()), begin = static_cast<uint32_t>(part) * slice;
  const uint32_t end = begin + slice < pixels ? begin + slice : pixels;
  const int chunks = begin < end ? static_cast<int>((end - begin + kChunk - 1) / kChunk) : 0;

  GradientLoader<kPieceDy> gradients(dy, filters, m0, min(filters, m0 + 32 * kM), begin, end);
  PatchLoader<kPieceX> patches(x, g, w_grid, h_grid, j0, begin, end);
  const auto load = [&](bf16* stage) {
    gradients.load(stage);
    patches.load(stage + kChunk * kRow);
  };
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < chunks) load(ring + s * kStage);
    cp_async_commit();
  }
  // Where this lane's rows of ldmatrix begin, for each 16 filters and each 16 (tap, channel).
  int a_at[kM], b_at[kN / 2];
#pragma unroll
  for (int i = 0; i < kM; ++i) a_at[i] = place(lane / 16 * 8 + lane % 8, row0 + i * 16 + lane / 8 % 2 * 8);
#pragma unroll
  for (int j = 0; j < kN / 2; ++j)
    b_at[j] = kChunk * kRow + place(lane / 8 % 2 * 8 + lane % 8, column0 + j * 16 + lane / 16 * 8);
  float sums[kM][kN][4] = {};
  for (int c = 0; c < chunks; ++c) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    if (const int next = c + kStages - 1; next < chunks) load(ring + next % kStages * kStage);
    cp_async_commit();
    const bf16* const stage = ring + c % kStages * kStage;
#pragma unroll
    for (int k = 0; k < kChunk; k += 16) {
      uint32_t a[kM][4], b[kN][2];
#pragma unroll
      for (int i = 0; i < kM; ++i) ldmatrix_x4_trans(a[i], stage + a_at[i] + k * kRow);
#pragma unroll
      for (int j = 0; j < kN; j += 2) {
        uint32_t both[4];
        ldmatrix_x4_trans(both, stage + b_at[j / 2] + k * kRow);
        b[j][0] = both[0];
        b[j][1] = both[1];
        b[j + 1][0] = both[2];
        b[j + 1][1] = both[3];
      }
#pragma unroll
      for (int i = 0; i < kM; ++i)
#pragma unroll
        for (int j = 0; j < kN; ++j) mma_bf16_16816(sums[i][j], a[i], b[j][0], b[j][1]);
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
int64_t slices_for(int64_t tiles, int64_t pixels, int64_t results) {
  constexpr int64_t kAtOnce = 264;
  const int64_t most = std::min<int64_t>({2 * kAtOnce / tiles + 2, pixels / 256, (int64_t{64} << 20) / results});
  int64_t best = 1;
  double least = 1e30;
  for (int64_t n = 1; n <= std::max<int64_t>(1, most); ++n) {
    // Microseconds: 0.6 for a chunk where two blocks share a multiprocessor; then the sums of the slices are written
    // and read, 8 bytes at 2.5 TB/s, and added one after the other.
    const double rounds = static_cast<double>((tiles * n + kAtOnce - 1) / kAtOnce), slices = static_cast<double>(n);
    const double chunks = static_cast<double>((pixels / n + kChunk - 1) / kChunk);
    const double time = rounds * chunks * 0.6 + slices * (static_cast<double>(results) * 3.2e-6 + 0.06);
    if (time < least) {
      least = time;
      best = n;
    }
  }
  return best;
}

}  // namespace

bool conv_mma_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s) {
  if (!conv_mma_fits(s) || !wide_aligned({&x, &dy})) return false;
  const Gather g = forward_gather(s);
  const int filters = static_cast<int>(s.out_channels);
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
  const int64_t columns = (s.depth() + kRow - 1) / kRow, rows = (filters + 32 * height - 1) / (32 * height);
  const int64_t count = dweight.numel(), pixels = g.pixels();
  const int64_t wanted = slices_for(columns * rows, pixels, count);
  const int64_t slice = ((pixels + wanted - 1) / wanted + kChunk - 1) / kChunk * kChunk;
  const int64_t slices = (pixels + slice - 1) / slice;
  float* partial = workspace<float>(x.device(), slices * count);
  const auto launch_as = [&](auto kernel) {
    launch({x.device(), "conv2d", dim3(static_cast<unsigned>(columns * rows * slices)), dim3(kThreads),
            sizeof(bf16) * kStages * kStage},
           kernel, view<const bf16>(dy), view<const bf16>(x), View<float>(partial, slices * count), g,
           Divisor(static_cast<uint32_t>(g.w.grid)), Divisor(static_cast<uint32_t>(g.h.grid)), filters,
           static_cast<int>(columns), static_cast<int>(slices), static_cast<uint32_t>(slice));
  };
  const auto of_height = [&](auto piece_dy, auto piece_x) {
    constexpr int kDy = decltype(piece_dy)::value, kX = decltype(piece_x)::value;
    height == 2   ? launch_as(conv_mma_weight_kernel<kDy, kX, 2>)
    : height == 3 ? launch_as(conv_mma_weight_kernel<kDy, kX, 3>)
                  : launch_as(conv_mma_weight_kernel<kDy, kX, 4>);
  };
  constexpr std::integral_constant<int, 8> kEight;
  constexpr std::integral_constant<int, 4> kFour;
  constexpr std::integral_constant<int, 1> kOne;
  const int64_t both = std::gcd(s.in_channels, s.out_channels);
  if (both % 8 == 0)
    of_height(kEight, kEight);
  else if (both % 4 == 0)
    of_height(kFour, kFour);
  else if (filters % 8 == 0)
    of_height(kEight, kOne);  // images
  else
    of_height(kOne, kOne);
  sum_slices(x.device(), "conv2d", partial, slices, dweight);
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
