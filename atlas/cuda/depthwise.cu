// Depthwise convolution on CUDA, for images and (as images of height 1) sequences. A thread has one pack of channels
// and a few neighboring pixels of a row, so that it reads each tap once for all of them; pixels that neighbors read
// again come from the first-level cache.
#include <numeric>

#include "atlas/cuda/rows.cuh"
#include "atlas/kernels/conv.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kStrip = 4;  // pixels of a thread
constexpr int kTaps = 4;   // taps of one row of the filter whose gradients a thread adds up

/// Pixels [B,H,W] with contiguous channels; steps in elements.
template <class T>
struct Pixels {
  View<T> data;
  int64_t batch_step, row_step, column_step;
  explicit Pixels(const Tensor& t)
      : data(view<T>(t)), batch_step(t.strides()[0]), row_step(t.strides()[1]), column_step(t.strides()[2]) {}
  __device__ int64_t row(int64_t b, int64_t h) const { return b * batch_step + h * row_step; }
};

/// Lengths as kernels want them; {vertical, horizontal}.
struct DepthwiseShape {
  int in[2], out[2], kernel[2], stride[2], padding[2], dilation[2];
  int channels;
  explicit DepthwiseShape(const Conv2dShape& s) : channels(static_cast<int>(s.in_channels)) {
    for (size_t i = 0; i < 2; ++i) {
      in[i] = static_cast<int>(s.in[i]);
      out[i] = static_cast<int>(s.out[i]);
      kernel[i] = static_cast<int>(s.kernel[i]);
      stride[i] = static_cast<int>(s.stride[i]);
      padding[i] = static_cast<int>(s.padding[i]);
      dilation[i] = static_cast<int>(s.dilation[i]);
    }
  }
};

// block.x: packs of channels, block.y: strips of an image row; grid.x covers strips (a sequence may have any number of
// them), grid.y packs, grid.z rows.
struct Place {
  int64_t row;  // of all rows of the batch
  int column, channel;
};
template <int N>
__device__ Place place_of_thread() {
  return {blockIdx.z, static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y) * kStrip,
          static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * N};
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads) depthwise_kernel(Pixels<const T> x, View<const T> taps, View<const T> bias,
                                                             DepthwiseShape s, int64_t rows, View<T> y) {
  using A = Compute<T>;
  const Place at = place_of_thread<N>();
  if (at.channel >= s.channels || at.column >= s.out[1]) return;
  A base[N] = {};
  if (bias) load_values<N>(bias, at.channel, base);
  for (int64_t row = at.row; row < rows; row += gridDim.z) {
    const int b = static_cast<int>(row) / s.out[0];  // rows are fewer than 2^31: check_lengths()
    const int top = static_cast<int>(row) % s.out[0] * s.stride[0] - s.padding[0];
    A sum[kStrip][N];
#pragma unroll
    for (int p = 0; p < kStrip; ++p) {
#pragma unroll
      for (int j = 0; j < N; ++j) sum[p][j] = base[j];
    }
    for (int kh = 0; kh < s.kernel[0]; ++kh) {
      const int h = top + kh * s.dilation[0];
      if (h < 0 || h >= s.in[0]) continue;
      const int64_t line = x.row(b, h) + at.channel;
      for (int kw = 0; kw < s.kernel[1]; ++kw) {
        A w[N];
        load_values<N>(taps, int64_t{kh * s.kernel[1] + kw} * s.channels + at.channel, w);
#pragma unroll
        for (int p = 0; p < kStrip; ++p) {
          const int column = (at.column + p) * s.stride[1] + kw * s.dilation[1] - s.padding[1];
          if (at.column + p < s.out[1] && column >= 0 && column < s.in[1]) {
            A v[N];
            load_values<N>(x.data, line + column * x.column_step, v);
#pragma unroll
            for (int j = 0; j < N; ++j) sum[p][j] += v[j] * w[j];
          }
        }
      }
    }
#pragma unroll
    for (int p = 0; p < kStrip; ++p)
      if (at.column + p < s.out[1])
        store_values<N>(y, (row * s.out[1] + at.column + p) * s.channels + at.channel, sum[p]);
  }
}

// dx[h, w] = Σ over taps of dy[(h + padding - kh dilation) / stride, ...] where that is a whole number on the map.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    depthwise_input_kernel(Pixels<const T> dy, View<const T> taps, DepthwiseShape s, int64_t rows, View<T> dx) {
  using A = Compute<T>;
  const Place at = place_of_thread<N>();
  if (at.channel >= s.channels || at.column >= s.in[1]) return;
  for (int64_t row = at.row; row < rows; row += gridDim.z) {
    const int b = static_cast<int>(row) / s.in[0];
    const int h = static_cast<int>(row) % s.in[0] + s.padding[0];
    A sum[kStrip][N] = {};
    for (int kh = 0; kh < s.kernel[0]; ++kh) {
      const int th = h - kh * s.dilation[0];
      if (th < 0 || th % s.stride[0] != 0 || th / s.stride[0] >= s.out[0]) continue;
      const int64_t line = dy.row(b, th / s.stride[0]) + at.channel;
      for (int kw = 0; kw < s.kernel[1]; ++kw) {
        A w[N];
        load_values<N>(taps, int64_t{kh * s.kernel[1] + kw} * s.channels + at.channel, w);
#pragma unroll
        for (int p = 0; p < kStrip; ++p) {
          const int tw = at.column + p + s.padding[1] - kw * s.dilation[1];
          const int column = s.stride[1] == 1 ? tw : tw / s.stride[1];
          if (at.column + p < s.in[1] && tw >= 0 && column * s.stride[1] == tw && column < s.out[1]) {
            A v[N];
            load_values<N>(dy.data, line + column * dy.column_step, v);
#pragma unroll
            for (int j = 0; j < N; ++j) sum[p][j] += v[j] * w[j];
          }
        }
      }
    }
#pragma unroll
    for (int p = 0; p < kStrip; ++p)
      if (at.column + p < s.in[1])
        store_values<N>(dx, (row * s.in[1] + at.column + p) * s.channels + at.channel, sum[p]);
  }
}

// partial[block][tap][channel] = Σ over the block's output pixels of x[pixel at tap] dy[pixel]. grid.z counts groups of
// kTaps taps of one row of the filter.
template <class T, int N>
__global__ void depthwise_weight_kernel(Pixels<const T> x, Pixels<const T> dy, DepthwiseShape s, int64_t pixels,
                                        int64_t rows_per_block, Divider columns, Divider rows,
                                        View<Compute<T>> partial) {
  using A = Compute<T>;
  const int channel = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * N;
  const int groups = (s.kernel[1] + kTaps - 1) / kTaps;
  const int kh = static_cast<int>(blockIdx.z) / groups, first = static_cast<int>(blockIdx.z) % groups * kTaps;
  const int64_t begin = blockIdx.x * rows_per_block, end = min(pixels, begin + rows_per_block);
  const bool inside = channel < s.channels;
  A sum[kTaps * N] = {};
  for (int64_t p = begin + threadIdx.y; inside && p < end; p += blockDim.y) {
    uint32_t ow = static_cast<uint32_t>(p), oh = columns.split(ow);
    const uint32_t b = rows.split(oh);
    const int h = static_cast<int>(oh) * s.stride[0] + kh * s.dilation[0] - s.padding[0];
    if (h < 0 || h >= s.in[0]) continue;
    A g[N];
    load_values<N>(dy.data, dy.row(b, oh) + ow * dy.column_step + channel, g);
    const int64_t line = x.row(b, h) + channel;
#pragma unroll
    for (int k = 0; k < kTaps; ++k) {
      const int w = static_cast<int>(ow) * s.stride[1] + (first + k) * s.dilation[1] - s.padding[1];
      if (first + k < s.kernel[1] && w >= 0 && w < s.in[1]) {
        A v[N];
        load_values<N>(x.data, line + w * x.column_step, v);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[k * N + j] += v[j] * g[j];
      }
    }
  }
  sum_tile_rows(sum, shared_memory<A>());
  if (!inside || threadIdx.y != 0) return;
  const int64_t taps = int64_t{s.kernel[0]} * s.kernel[1];
#pragma unroll
  for (int k = 0; k < kTaps; ++k) {
    if (first + k < s.kernel[1]) {
#pragma unroll
      for (int j = 0; j < N; ++j)
        partial[(blockIdx.x * taps + kh * s.kernel[1] + first + k) * s.channels + channel + j] = sum[k * N + j];
    }
  }
}

/// For sum_partials: writes column c of one vector.
template <class T>
struct OneVector {
  Vector<T> to;
  __device__ void put(int64_t c, double sum) const { to.set(c, static_cast<Compute<T>>(sum)); }
};

/// Packs in which every pixel of both (and of taps and y, whose rows are `channels` long) can be read.
template <class T, class... Tensors>
int pack_of(int64_t channels, const Tensor& strided, const Tensors&... others) {
  int64_t step = channels;
  for (int i = 0; i < 3; ++i) step = std::gcd(step, strided.size(i) > 1 ? strided.strides()[i] : int64_t{0});
  return pack_width<T>(step, strided, others...);
}

/// The launch over `rows` image rows of `columns` pixels.
Launch strips(Device device, const char* op, int64_t packs, int64_t columns, int64_t rows) {
  const int64_t strips = (columns + kStrip - 1) / kStrip;
  const int64_t x = packs >= kThreads ? kThreads : packs, y = std::max<int64_t>(1, std::min(kThreads / x, strips));
  return {device,
          op,
          dim3(static_cast<unsigned>((strips + y - 1) / y), static_cast<unsigned>((packs + x - 1) / x),
               static_cast<unsigned>(std::min<int64_t>(rows, 32768))),
          dim3(static_cast<unsigned>(x), static_cast<unsigned>(y)),
          0,
          true};
}

void check_lengths(const Conv2dShape& s) {
  // Kernels count pixels of a row and channels in 32 bits, and the pixels of the batch in 31.
  check(s.out_pixels() < (int64_t{1} << 31) && s.in_pixels() < (int64_t{1} << 31) &&
            s.in_channels * s.kernel[0] * s.kernel[1] < (int64_t{1} << 31),
        "depthwise convolution", "2^31 pixels or more are too many at once on CUDA (split the batch)");
}

}  // namespace

void depthwise_forward(const Tensor& x, const Tensor& taps, const Tensor& bias, Tensor& y, const Conv2dShape& s) {
  if (y.numel() == 0) return;
  check_lengths(s);
  visit_cuda_float(x, "depthwise convolution", [&](auto tag) {
    using T = decltype(tag);
    visit_pack<T>(pack_of<T>(s.in_channels, x, taps, bias, y), [&](auto pack) {
      const int64_t rows = s.batch * s.out[0];
      launch(strips(x.device(), "depthwise convolution", s.in_channels / pack, s.out[1], rows),
             depthwise_kernel<T, pack>, Pixels<const T>(x), view<const T>(taps), view<const T>(bias), DepthwiseShape(s),
             rows, view<T>(y));
    });
  });
}

void depthwise_backward_input(const Tensor& dy, const Tensor& taps, Tensor& dx, const Conv2dShape& s) {
  if (dx.numel() == 0) return;
  check_lengths(s);
  visit_cuda_float(dy, "depthwise convolution", [&](auto tag) {
    using T = decltype(tag);
    visit_pack<T>(pack_of<T>(s.in_channels, dy, taps, dx), [&](auto pack) {
      const int64_t rows = s.batch * s.in[0];
      launch(strips(dy.device(), "depthwise convolution backward", s.in_channels / pack, s.in[1], rows),
             depthwise_input_kernel<T, pack>, Pixels<const T>(dy), view<const T>(taps), DepthwiseShape(s), rows,
             view<T>(dx));
    });
  });
}

void depthwise_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dtaps, const Conv2dShape& s) {
  const char* op = "depthwise convolution backward";
  const int64_t channels = s.in_channels, size = s.kernel[0] * s.kernel[1] * channels, pixels = s.out_pixels();
  if (size == 0) return;
  check_lengths(s);
  visit_cuda_float(x, "depthwise convolution", [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    const int n = std::min(4, std::min(pack_of<T>(channels, x), pack_of<T>(channels, dy)));
    visit_pack<T>(n, [&](auto pack) {
      constexpr int N = pack > 4 ? 4 : pack;
      const ColumnTiles tiles(pixels, channels / N, 132 * 2, 8);
      const int64_t pieces = tiles.grid.x, groups = (s.kernel[1] + kTaps - 1) / kTaps;
      const View<A> partial(workspace<A>(x.device(), pieces * size), pieces * size);
      launch({x.device(), op, dim3(tiles.grid.x, tiles.grid.y, static_cast<unsigned>(s.kernel[0] * groups)),
              tiles.block, ColumnTiles::kThreads * kTaps * N * sizeof(A)},
             depthwise_weight_kernel<T, N>, Pixels<const T>(x), Pixels<const T>(dy), DepthwiseShape(s), pixels,
             tiles.rows_per_block, Divider(std::max<int64_t>(1, s.out[1])), Divider(std::max<int64_t>(1, s.out[0])),
             partial);
      sum_partials(x.device(), op, partial.p, pieces, size, OneVector<T>{Vector<T>(dtaps)});
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
