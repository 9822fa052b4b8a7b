// Batch norm on CUDA: channels-last, so a block has some neighboring channels and a stretch of rows, a thread one pack
// of channels and every few rows of the stretch. Sums of blocks go to memory and are combined in order by a second
// kernel. Sums are kept in float64: the kernels wait for memory, not for these additions.
#include "atlas/cuda/epilogue.cuh"
#include "atlas/cuda/rows.cuh"
#include "atlas/kernels/norm.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int64_t kBlocks = 132 * 4;  // enough to keep every multiprocessor busy

// Per block and channel: mean and squared deviations from it, of rows counted from the block's first row's value, which
// is near the mean: no digits cancel.
template <class T, int N>
__global__ void statistics_kernel(View<const T> x, int64_t rows, int64_t channels, int64_t rows_per_block,
                                  View<double> partial) {
  using A = Compute<T>;
  const int64_t c = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * N;
  const int64_t begin = blockIdx.x * rows_per_block, end = min(rows, begin + rows_per_block);
  const bool inside = c < channels;
  A shift[N];
  double sums[2 * N] = {};
  if (inside) {
    load_values<N>(x, begin * channels + c, shift);
#pragma unroll 4
    for (int64_t r = begin + threadIdx.y; r < end; r += blockDim.y) {
      A v[N];
      load_values<N>(x, r * channels + c, v);
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const double d = static_cast<double>(v[j] - shift[j]);
        sums[j] += d;
        sums[N + j] += d * d;
      }
    }
  }
  sum_tile_rows(sums, shared_memory<double>());
  if (!inside || threadIdx.y != 0) return;
  const double n = static_cast<double>(end - begin);
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const double d = sums[j] / n;
    partial[int64_t{blockIdx.x} * 2 * channels + c + j] = static_cast<double>(shift[j]) + d;
    partial[(int64_t{blockIdx.x} * 2 + 1) * channels + c + j] = sums[N + j] - sums[j] * d;
  }
}

// With n_p rows of mean m_p and squared deviations M_p from it in piece p: mean m = sum n_p m_p / n, and variance
// (sum M_p + n_p (m_p - m)^2) / n.
template <class A>
__global__ void merge_statistics_kernel(View<const double> partial, int64_t pieces, int64_t rows,
                                        int64_t rows_per_block, int64_t channels, bool with_rest, View<A> mean,
                                        View<A> var) {
  __shared__ double strands[2][8][kWarp];
  const int64_t c = int64_t{blockIdx.x} * kWarp + threadIdx.x, end = c < channels ? pieces : 0;
  const auto count = [&](int64_t p) { return static_cast<double>(min(rows_per_block, rows - p * rows_per_block)); };
  const auto of_strands = [&](int which, double mine) {
    strands[which][threadIdx.y][threadIdx.x] = mine;
    __syncthreads();
    double sum = 0;
    for (int s = 0; s < 8; ++s) sum += strands[which][s][threadIdx.x];
    return sum / static_cast<double>(rows);
  };
  double sum = 0, squares = 0;
#pragma unroll 4
  for (int64_t p = threadIdx.y; p < end; p += 8) sum += count(p) * partial[p * 2 * channels + c];
  const double m = of_strands(0, sum);
#pragma unroll 4
  for (int64_t p = threadIdx.y; p < end; p += 8) {
    const double d = partial[p * 2 * channels + c] - m;
    squares += partial[(p * 2 + 1) * channels + c] + count(p) * d * d;
  }
  const double v = of_strands(1, squares);
  if (threadIdx.y == 0 && c < channels) {
    mean[c] = static_cast<A>(m);
    if (with_rest) mean[channels + c] = static_cast<A>(m - static_cast<double>(mean[c]));
    var[c] = static_cast<A>(v);
  }
}

/// What is done to an image, per channel: z = (x - mean) rstd weight + bias, then y = activation(z). `rest`, where
/// there is one, is what the type of mean lost of it, and is subtracted too.
template <class T>
struct Normalization {
  View<const Compute<T>> mean, rstd;
  bool with_rest;
  Vector<T> weight, bias;
  Activation activation;

  Normalization(const Tensor& m, const Tensor& r, const Tensor& w, const Tensor& b, Activation f)
      : mean(view<const Compute<T>>(m)),
        rstd(view<const Compute<T>>(r)),
        with_rest(m.numel() > r.numel()),
        weight(w),
        bias(b),
        activation(f) {}
};

/// The same for N channels of a thread, in registers.
template <class T, int N>
struct ChannelNormalization {
  using A = Compute<T>;
  A mean[N], rest[N] = {}, scale[N], bias[N];
  Activation activation;

  __device__ ChannelNormalization(const Normalization<T>& from, int64_t c, int64_t channels)
      : activation(from.activation) {
    A w[N];
    load_values<N>(from.mean, c, mean);
    if (from.with_rest) load_values<N>(from.mean, channels + c, rest);
    load_values<N>(from.rstd, c, scale);
    from.weight.get(c, w);
    from.bias.get(c, bias);
#pragma unroll
    for (int j = 0; j < N; ++j) scale[j] *= w[j];
  }
  __device__ A deviation(int j, A x) const { return x - mean[j] - rest[j]; }
  __device__ A before_activation(int j, A x) const { return deviation(j, x) * scale[j] + bias[j]; }
  __device__ A value(int j, A x) const {
    const A z = before_activation(j, x);
    return activation == Activation::none ? z : activate(activation, z);
  }
  /// dz = dy activation'(z)
  __device__ A gradient(int j, A x, A dy) const {
    return activation == Activation::none ? dy : dy * activation_derivative(activation, before_activation(j, x));
  }
};

template <class T, int N>
__global__ void normalize_kernel(View<const T> x, Normalization<T> norm, int64_t rows, int64_t channels,
                                 int64_t rows_per_block, View<T> y) {
  using A = Compute<T>;
  const int64_t c = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * N;
  if (c >= channels) return;
  const int64_t begin = blockIdx.x * rows_per_block, end = min(rows, begin + rows_per_block);
  const ChannelNormalization<T, N> at(norm, c, channels);
#pragma unroll 4
  for (int64_t r = begin + threadIdx.y; r < end; r += blockDim.y) {
    A v[N];
    load_values<N>(x, r * channels + c, v);
#pragma unroll
    for (int j = 0; j < N; ++j) v[j] = at.value(j, v[j]);
    store_values<N>(y, r * channels + c, v);
  }
}

// Per block and channel: Σ dz (x - mean) and Σ dz. In float64, as where the mean of dz is all there is of it (a global
// average follows), dx is what the sums leave.
template <class T, int N>
__global__ void backward_sums_kernel(View<const T> x, Normalization<T> norm, View<const T> dy, int64_t rows,
                                     int64_t channels, int64_t rows_per_block, View<double> partial) {
  using A = Compute<T>;
  const int64_t c = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * N;
  const int64_t begin = blockIdx.x * rows_per_block, end = min(rows, begin + rows_per_block);
  const bool inside = c < channels;
  double sums[2 * N] = {};
  if (inside) {
    const ChannelNormalization<T, N> at(norm, c, channels);
#pragma unroll 4
    for (int64_t r = begin + threadIdx.y; r < end; r += blockDim.y) {
      A v[N], d[N];
      load_values<N>(x, r * channels + c, v);
      load_values<N>(dy, r * channels + c, d);
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const A dz = at.gradient(j, v[j], d[j]);
        sums[j] += static_cast<double>(dz * at.deviation(j, v[j]));
        sums[N + j] += static_cast<double>(dz);
      }
    }
  }
  sum_tile_rows(sums, shared_memory<double>());
  if (!inside || threadIdx.y != 0) return;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    partial[int64_t{blockIdx.x} * 2 * channels + c + j] = sums[j];
    partial[(int64_t{blockIdx.x} * 2 + 1) * channels + c + j] = sums[N + j];
  }
}

/// For sum_partials: the sums become dweight and dbias, and the factors of dx = a (dz - <dz>) + k (x - mean), which lie
/// in `factors` [2][channels] as k / a and <dz>. `scale` is 1 / rows, or 0 for constant statistics.
template <class T>
struct BackwardFactors {
  using A = Compute<T>;
  View<const A> rstd;
  Vector<T> dweight, dbias;
  View<A> factors;
  double scale;
  int64_t channels;
  __device__ void put(int64_t c, double sum) const {
    if (c < channels) {
      const A s = rstd[c], dw = static_cast<A>(sum) * s;
      dweight.set(c, dw);
      factors[c] = -s * dw * static_cast<A>(scale);
    } else {
      dbias.set(c - channels, static_cast<A>(sum));
      factors[c] = static_cast<A>(sum * scale);
    }
  }
};

template <class T, int N>
__global__ void backward_kernel(View<const T> x, Normalization<T> norm, View<const Compute<T>> factors,
                                View<const T> dy, int64_t rows, int64_t channels, int64_t rows_per_block, View<T> dx) {
  using A = Compute<T>;
  const int64_t c = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * N;
  if (c >= channels) return;
  const int64_t begin = blockIdx.x * rows_per_block, end = min(rows, begin + rows_per_block);
  const ChannelNormalization<T, N> at(norm, c, channels);
  A k[N], mean_dz[N];
  load_values<N>(factors, c, k);
  load_values<N>(factors, channels + c, mean_dz);
#pragma unroll
  for (int j = 0; j < N; ++j) k[j] *= at.scale[j];
#pragma unroll 2
  for (int64_t r = begin + threadIdx.y; r < end; r += blockDim.y) {
    A v[N], d[N];
    load_values<N>(x, r * channels + c, v);
    load_values<N>(dy, r * channels + c, d);
#pragma unroll
    for (int j = 0; j < N; ++j)
      d[j] = at.scale[j] * (at.gradient(j, v[j], d[j]) - mean_dz[j]) + k[j] * at.deviation(j, v[j]);
    store_values<N>(dx, r * channels + c, d);
  }
}

int64_t rows_of(const Tensor& x, int64_t channels) { return channels == 0 ? 0 : x.numel() / channels; }

}  // namespace

void batch_norm_statistics(const Tensor& x, Tensor& mean, Tensor& var) {
  const int64_t channels = var.numel(), rows = rows_of(x, channels);
  if (rows == 0) return;
  visit_cuda_float(x, "batch_norm", [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    visit_pack<T>(pack_width<T>(channels, x), [&](auto pack) {
      constexpr int N = pack;
      const ColumnTiles tiles(rows, channels / N, kBlocks, 8);
      const int64_t pieces = tiles.grid.x, size = pieces * 2 * channels;
      double* partial = workspace<double>(x.device(), size);
      launch({x.device(), "batch_norm statistics", tiles.grid, tiles.block, ColumnTiles::kThreads * 2 * N * 8},
             statistics_kernel<T, N>, view<const T>(x), rows, channels, tiles.rows_per_block,
             View<double>(partial, size));
      launch({x.device(), "batch_norm statistics", dim3(static_cast<unsigned>((channels + kWarp - 1) / kWarp)),
              dim3(kWarp, 8)},
             merge_statistics_kernel<A>, View<const double>(partial, size), pieces, rows, tiles.rows_per_block,
             channels, mean.numel() > channels, view<A>(mean), view<A>(var));
    });
  });
}

void batch_norm_forward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                        const Tensor& bias, Activation activation, Tensor& y) {
  const int64_t channels = rstd.numel(), rows = rows_of(x, channels);
  if (rows == 0) return;
  visit_cuda_float(x, "batch_norm", [&](auto tag) {
    using T = decltype(tag);
    visit_pack<T>(pack_width<T>(channels, x, mean, rstd, weight, bias, y), [&](auto pack) {
      constexpr int N = pack;
      const ColumnTiles tiles(rows, channels / N, 4 * kBlocks, 4);
      launch({x.device(), "batch_norm", tiles.grid, tiles.block, 0, true}, normalize_kernel<T, N>, view<const T>(x),
             Normalization<T>(mean, rstd, weight, bias, activation), rows, channels, tiles.rows_per_block, view<T>(y));
    });
  });
}

// With dz = dy activation'(z): dbias = Σ dz, dweight = Σ dz xhat, dx = weight rstd (dz - <dz> - xhat <dz xhat>); with
// constant statistics the two means vanish from dx.
void batch_norm_backward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                         const Tensor& bias, Activation activation, const Tensor& dy, bool batch_statistics, Tensor& dx,
                         Tensor& dweight, Tensor& dbias) {
  const int64_t channels = rstd.numel(), rows = rows_of(x, channels);
  if (channels == 0) return;
  const char* op = "batch_norm backward";
  visit_cuda_float(x, "batch_norm", [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    visit_pack<T>(pack_width<T>(channels, x, mean, rstd, weight, bias, dy, dx), [&](auto pack) {
      constexpr int N = pack;
      const ColumnTiles tiles(rows, channels / N, kBlocks, 8), wide(rows, channels / N, 4 * kBlocks, 4);
      const int64_t pieces = tiles.grid.x, size = pieces * 2 * channels;
      double* partial = workspace<double>(x.device(), size);
      A* factors = workspace<A>(x.device(), 2 * channels, 1);
      const Normalization<T> norm(mean, rstd, weight, bias, activation);
      launch({x.device(), op, tiles.grid, tiles.block, ColumnTiles::kThreads * 2 * N * 8}, backward_sums_kernel<T, N>,
             view<const T>(x), norm, view<const T>(dy), rows, channels, tiles.rows_per_block,
             View<double>(partial, size));
      sum_partials(
          x.device(), op, partial, pieces, 2 * channels,
          BackwardFactors<T>{view<const A>(rstd), Vector<T>(dweight), Vector<T>(dbias), View<A>(factors, 2 * channels),
                             batch_statistics && rows > 0 ? 1 / static_cast<double>(rows) : 0, channels});
      launch({x.device(), op, wide.grid, wide.block, 0, true}, backward_kernel<T, N>, view<const T>(x), norm,
             View<const A>(factors, 2 * channels), view<const T>(dy), rows, channels, wide.rows_per_block, view<T>(dx));
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
