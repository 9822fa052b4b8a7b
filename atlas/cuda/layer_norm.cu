// Layer norm on CUDA. A row lies in the registers of a team of threads: lanes of a warp, or a block for wide rows, so
// that memory is read once; deviations are taken in two steps, x - mean - rest, as on the CPU (cpu/norm-inl.h).
#include "atlas/cuda/rows.cuh"
#include "atlas/kernels/norm.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 256, kWidest = 512;  // threads of a block, and of a team in backward

/// K packs of N elements of row `row`, as thread `team.rank()` holds them; zeros beyond the row.
template <int N, int K, class T>
__device__ void load_row(const View<const T>& x, int64_t row, bool present, int channels, const Team& team,
                         Compute<T> (&v)[K][N]) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int c = (k * team.size + team.rank()) * N;
    if (present && c < channels) {
      load_values<N>(x, row * channels + c, v[k]);
    } else {
#pragma unroll
      for (int j = 0; j < N; ++j) v[k][j] = 0;
    }
  }
}

/// 1 / sqrt(var + eps), from the mean square and the mean, `rest`, of deviations from nearly the mean.
template <class A>
__device__ A inverse_deviation(A mean_square, A rest, A eps) {
  const A var = mean_square - rest * rest;
  return A(1) / std::sqrt((var > A(0) ? var : A(0)) + eps);
}

template <class T, int N, int K>
__global__ void layer_norm_kernel(View<const T> x, Vector<T> weight, Vector<T> bias, Compute<T> eps, int64_t rows,
                                  int channels, Team team, View<T> y, View<Compute<T>> mean, View<Compute<T>> rstd) {
  using A = Compute<T>;
  const int64_t row = int64_t{blockIdx.x} * team.rows() + team.row();
  const bool present = row < rows;
  A v[K][N];
  load_row<N, K, T>(x, row, present, channels, team, v);
  A sum = 0;
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int j = 0; j < N; ++j) sum += v[k][j];
  }
  const A scale = A(1) / static_cast<A>(channels), m = team.sum(sum) * scale;
  A deviations = 0, squares = 0;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const bool inside = (k * team.size + team.rank()) * N < channels;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      v[k][j] = inside ? v[k][j] - m : A(0);
      deviations += v[k][j];
      squares += v[k][j] * v[k][j];
    }
  }
  const A rest = team.sum(deviations) * scale, s = inverse_deviation(team.sum(squares) * scale, rest, eps);
  if (!present) return;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int c = (k * team.size + team.rank()) * N;
    if (c < channels) {
      A w[N], b[N];
      weight.get(c, w);
      bias.get(c, b);
#pragma unroll
      for (int j = 0; j < N; ++j) v[k][j] = (v[k][j] - rest) * s * w[j] + b[j];
      store_values<N>(y, row * channels + c, v[k]);
    }
  }
  if (team.rank() == 0) {
    mean[row] = m;
    rstd[row] = s;
  }
}

// dx = rstd (g - <g> - xhat <g xhat>) with g = dy weight; a team keeps its rows' dweight = Σ dy xhat and dbias = Σ dy
// in registers, the block adds its teams' in order, and partial[block] takes 2 channels sums.
template <class T, int N, int K>
__global__ void __launch_bounds__(kWidest)
    layer_norm_backward_kernel(View<const T> x, Vector<T> weight, View<const Compute<T>> mean,
                               View<const Compute<T>> rstd, View<const T> dy, int64_t rows, int channels, Team team,
                               View<T> dx, View<Compute<T>> partial) {
  using A = Compute<T>;
  const A scale = A(1) / static_cast<A>(channels);
  A dw[K][N] = {}, db[K][N] = {};
  const int64_t step = int64_t{gridDim.x} * team.rows();
  for (int64_t first = int64_t{blockIdx.x} * team.rows(); first < rows; first += step) {
    const int64_t row = first + team.row();
    const bool present = row < rows;
    A xhat[K][N], d[K][N];
    load_row<N, K, T>(x, row, present, channels, team, xhat);
    load_row<N, K, T>(dy, row, present, channels, team, d);
    const A m = present ? mean[row] : A(0), s = present ? rstd[row] : A(0);
    A deviations = 0, sum_g = 0, sum_gx = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const bool inside = (k * team.size + team.rank()) * N < channels;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        xhat[k][j] = inside ? xhat[k][j] - m : A(0);
        deviations += xhat[k][j];
      }
    }
    const A rest = team.sum(deviations) * scale;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int c = (k * team.size + team.rank()) * N;
      if (c < channels) {
        A w[N];
        weight.get(c, w);
#pragma unroll
        for (int j = 0; j < N; ++j) {
          xhat[k][j] = (xhat[k][j] - rest) * s;
          dw[k][j] += d[k][j] * xhat[k][j];
          db[k][j] += d[k][j];
          d[k][j] *= w[j];
          sum_g += d[k][j];
          sum_gx += d[k][j] * xhat[k][j];
        }
      }
    }
    const A mean_g = team.sum(sum_g) * scale, mean_gx = team.sum(sum_gx) * scale;
    if (present) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int c = (k * team.size + team.rank()) * N;
        if (c < channels) {
#pragma unroll
          for (int j = 0; j < N; ++j) d[k][j] = s * (d[k][j] - mean_g - xhat[k][j] * mean_gx);
          store_values<N>(dx, row * channels + c, d[k]);
        }
      }
    }
  }

  A* sums = shared_memory<A>();  // [teams][2 channels]
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int c = (k * team.size + team.rank()) * N;
    if (c < channels) {
#pragma unroll
      for (int j = 0; j < N; ++j) {
        sums[team.row() * 2 * channels + c + j] = dw[k][j];
        sums[(team.row() * 2 + 1) * channels + c + j] = db[k][j];
      }
    }
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < 2 * channels; c += static_cast<int>(blockDim.x)) {
    A sum = sums[c];
    for (int t = 1; t < team.rows(); ++t) sum += sums[t * 2 * channels + c];
    partial[int64_t{blockIdx.x} * 2 * channels + c] = sum;
  }
}

// Rows that are too wide for registers: a block reads its row again for each sum (mostly from cache), and keeps its
// sums over rows in partial[block].
template <class T>
__global__ void layer_norm_wide_kernel(View<const T> x, Vector<T> weight, Vector<T> bias, Compute<T> eps,
                                       int64_t channels, View<T> y, View<Compute<T>> mean, View<Compute<T>> rstd) {
  using A = Compute<T>;
  const int64_t row = blockIdx.x, at = row * channels;
  const A scale = A(1) / static_cast<A>(channels);
  A sum = 0, deviations = 0, squares = 0;
  for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) sum += load(x[at + c]);
  const A m = block_sum(sum) * scale;
  for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) {
    const A d = load(x[at + c]) - m;
    deviations += d;
    squares += d * d;
  }
  const A rest = block_sum(deviations) * scale, s = inverse_deviation(block_sum(squares) * scale, rest, eps);
  for (int64_t c = threadIdx.x; c < channels; c += blockDim.x)
    y[at + c] = store<T>((load(x[at + c]) - m - rest) * s * weight[c] + bias[c]);
  if (threadIdx.x == 0) {
    mean[row] = m;
    rstd[row] = s;
  }
}

template <class T>
__global__ void layer_norm_wide_backward_kernel(View<const T> x, Vector<T> weight, View<const Compute<T>> mean,
                                                View<const Compute<T>> rstd, View<const T> dy, int64_t rows,
                                                int64_t channels, View<T> dx, View<Compute<T>> partial) {
  using A = Compute<T>;
  const A scale = A(1) / static_cast<A>(channels);
  const int64_t out = int64_t{blockIdx.x} * 2 * channels;
  for (int64_t c = threadIdx.x; c < 2 * channels; c += blockDim.x) partial[out + c] = 0;
  __syncthreads();  // below, thread c % threads alone touches column c of dweight and of dbias
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t at = row * channels;
    const A m = mean[row], s = rstd[row];
    A deviations = 0, sum_g = 0, sum_gx = 0;
    for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) deviations += load(x[at + c]) - m;
    const A rest = block_sum(deviations) * scale;
    for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) {
      const A d = load(dy[at + c]), xhat = (load(x[at + c]) - m - rest) * s, g = d * weight[c];
      sum_g += g;
      sum_gx += g * xhat;
      partial[out + c] += d * xhat;
      partial[out + channels + c] += d;
    }
    const A mean_g = block_sum(sum_g) * scale, mean_gx = block_sum(sum_gx) * scale;
    for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) {
      const A xhat = (load(x[at + c]) - m - rest) * s;
      dx[at + c] = store<T>(s * (load(dy[at + c]) * weight[c] - mean_g - xhat * mean_gx));
    }
  }
}

/// Calls f(std::integral_constant<int, K>{}) with the smallest power of two K >= packs, at most `most`.
template <int Most, int K = 1, class F>
void visit_count(int64_t packs, const F& f) {
  if constexpr (K < Most) {
    if (packs > K) return visit_count<Most, 2 * K>(packs, f);
  }
  f(std::integral_constant<int, K>{});
}

}  // namespace

void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y, Tensor& mean,
                        Tensor& rstd) {
  const int64_t channels = weight.numel(), rows = channels == 0 ? 0 : x.numel() / channels;
  if (rows == 0) return;
  visit_cuda_float(x, "layer_norm", [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    const Vector<T> w(weight), b(bias);
    visit_pack<T>(pack_width<T>(channels, x, weight, bias, y), [&](auto pack) {
      constexpr int N = pack, most = N == 8 ? 8 : 16;  // packs in a thread: at most 64 numbers
      const int64_t packs = channels / N;
      if (packs > most * kWarp) {
        launch({x.device(), "layer_norm", dim3(static_cast<unsigned>(rows)), dim3(kThreads)}, layer_norm_wide_kernel<T>,
               view<const T>(x), w, b, static_cast<A>(eps), channels, view<T>(y), view<A>(mean), view<A>(rstd));
        return;
      }
      const Team team{power_of_two_from(std::min<int64_t>(packs, kWarp), 4)};
      const int64_t at_once = kThreads / team.size;
      visit_count<most>((packs + team.size - 1) / team.size, [&](auto count) {
        launch({x.device(), "layer_norm", dim3(static_cast<unsigned>((rows + at_once - 1) / at_once)), dim3(kThreads)},
               layer_norm_kernel<T, N, count>, view<const T>(x), w, b, static_cast<A>(eps), rows,
               static_cast<int>(channels), team, view<T>(y), view<A>(mean), view<A>(rstd));
      });
    });
  });
}

void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dweight, Tensor& dbias, bool add) {
  check(!add, "layer_norm", "adds to a gradient on the CPU only");
  const int64_t channels = weight.numel(), rows = channels == 0 ? 0 : x.numel() / channels;
  if (channels == 0) return;
  visit_cuda_float(x, "layer_norm", [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    const Vector<T> w(weight);
    A* partial = nullptr;
    int64_t pieces = 0;
    visit_pack<T>(pack_width<T>(channels, x, weight, dy, dx), [&](auto pack) {
      constexpr int N = pack, most = N == 8 ? 2 : 4;  // packs in a thread: four times as many registers
      const int64_t packs = channels / N;
      const Team team{power_of_two_from(std::min<int64_t>((packs + most - 1) / most, kWidest), 4)};
      const int threads = team.size > kWarp ? team.size : kThreads;
      const int64_t at_once = threads / team.size;
      pieces = std::min<int64_t>((rows + at_once - 1) / at_once, threads < 128 ? 132 * 4 : 132 * 2);
      partial = workspace<A>(x.device(), pieces * 2 * channels);
      const dim3 grid(static_cast<unsigned>(pieces));
      const View<A> sums(partial, pieces * 2 * channels);
      if (packs > kWidest * most) {
        launch({x.device(), "layer_norm backward", grid, dim3(kThreads)}, layer_norm_wide_backward_kernel<T>,
               view<const T>(x), w, view<const A>(mean), view<const A>(rstd), view<const T>(dy), rows, channels,
               view<T>(dx), sums);
        return;
      }
      const size_t shared = static_cast<size_t>(at_once * 2 * channels) * sizeof(A);
      visit_count<most>((packs + team.size - 1) / team.size, [&](auto count) {
        launch({x.device(), "layer_norm backward", grid, dim3(static_cast<unsigned>(threads)), shared},
               layer_norm_backward_kernel<T, N, count>, view<const T>(x), w, view<const A>(mean), view<const A>(rstd),
               view<const T>(dy), rows, static_cast<int>(channels), team, view<T>(dx), sums);
      });
    });
    sum_partials(x.device(), "layer_norm backward", partial, pieces, 2 * channels,
                 TwoVectors<T>{Vector<T>(dweight), Vector<T>(dbias), channels});
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
