// CUDA kernels of kernels/order.h.
#include "atlas/cuda/elements.cuh"
#include "atlas/kernels/order.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

/// A value and its place. `at` is -1 for none.
template <class V>
struct Ranked {
  V value{};
  int64_t at = -1;
  /// Takes over `other` when it ranks before: by value, then the earlier.
  __device__ void take_better(const Ranked& other) {
    if (other.at < 0) return;
    if (at < 0 || ranks_before(other.value, value) || (!ranks_before(value, other.value) && other.at < at))
      *this = other;
  }
};

template <class V>
__device__ Ranked<V> best_of_warp(Ranked<V> best) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    Ranked<V> other;
    if constexpr (sizeof(V) < 4)
      other.value = static_cast<V>(__shfl_xor_sync(kAllLanes, static_cast<int>(best.value), lanes));
    else
      other.value = __shfl_xor_sync(kAllLanes, best.value, lanes);
    other.at = __shfl_xor_sync(kAllLanes, best.at, lanes);
    best.take_better(other);
  }
  return best;
}

/// A warp for each row.
template <class T>
__global__ void argmax_rows_kernel(int64_t rows, int64_t n, View<const T> x, View<int64_t> index) {
  using V = Arithmetic<T>;
  const int lane = threadIdx.x % kWarp;
  for (int64_t row = global_thread() / kWarp; row < rows; row += global_threads() / kWarp) {
    Ranked<V> best;
    for (int64_t k = lane; k < n; k += kWarp) best.take_better({V(x[row * n + k]), k});
    best = best_of_warp(best);
    if (lane == 0) index[row] = best.at;
  }
}

/// A thread for each column [o, :, i].
template <class T>
__global__ void argmax_columns_kernel(int64_t columns, int64_t n, int64_t inner, View<const T> x, View<int64_t> index) {
  using V = Arithmetic<T>;
  for (int64_t c = global_thread(); c < columns; c += global_threads()) {
    const int64_t first = c / inner * n * inner + c % inner;
    Ranked<V> best;
    for (int64_t k = 0; k < n; ++k) best.take_better({V(x[first + k * inner]), k});
    index[c] = best.at;
  }
}

constexpr int kTopThreads = 256;

/// A block for each row, and a pass over the row for each of the k results: the best of those that rank after the
/// last one.
template <class T>
__global__ void topk_kernel(int64_t n, int64_t k, View<const T> x, View<T> values, View<int64_t> index) {
  using V = Arithmetic<T>;
  __shared__ V warp_value[kTopThreads / kWarp];
  __shared__ int64_t warp_at[kTopThreads / kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t row = blockIdx.x;
  Ranked<V> last;
  for (int64_t j = 0; j < k; ++j) {
    Ranked<V> best;
    for (int64_t i = threadIdx.x; i < n; i += kTopThreads) {
      const V v(x[row * n + i]);
      const bool after = last.at < 0 || ranks_before(last.value, v) || (!ranks_before(v, last.value) && i > last.at);
      if (after) best.take_better({v, i});
    }
    best = best_of_warp(best);
    __syncthreads();  // the last round's results have been read
    if (lane == 0) {
      warp_value[warp] = best.value;
      warp_at[warp] = best.at;
    }
    __syncthreads();
    for (int w = 0; w < kTopThreads / kWarp; ++w) best.take_better({warp_value[w], warp_at[w]});
    last = best;
    if (threadIdx.x == 0) {
      values[row * k + j] = x[row * n + best.at];
      index[row * k + j] = best.at;
    }
  }
}

/// One step of a bitonic sort of each row's positions, padded to a power of two with n: position i meets the one at
/// `apart`, and their order is that of runs of `run`. Equal values are ordered by position, so the sort is stable.
template <class T>
__global__ void sort_step_kernel(int64_t pairs, int64_t padded, int64_t n, int64_t run, int64_t apart, bool descending,
                                 View<const T> x, View<int64_t> order) {
  using V = Arithmetic<T>;
  for (int64_t p = global_thread(); p < pairs; p += global_threads()) {
    const int64_t row = p / (padded / 2), k = p % (padded / 2);
    const int64_t i = k / apart * 2 * apart + k % apart, first = row * padded + i;
    const int64_t a = order[first], b = order[first + apart];
    bool swapped = a > b;  // whether b comes before a: padding comes last
    if (a < n && b < n) {
      const V u(x[row * n + a]), v(x[row * n + b]);
      const bool before = descending ? ranks_before(u, v) : ranks_before(v, u);
      const bool after = descending ? ranks_before(v, u) : ranks_before(u, v);
      swapped = after || (!before && a > b);
    }
    if (swapped == ((i & run) == 0)) {
      order[first] = b;
      order[first + apart] = a;
    }
  }
}
__global__ void positions_kernel(int64_t count, int64_t padded, View<int64_t> order) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) order[i] = i % padded;
}
template <class T>
__global__ void sorted_kernel(int64_t count, int64_t padded, int64_t n, View<const T> x, View<const int64_t> order,
                              View<T> values, View<int64_t> index) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t row = i / n, at = order[row * padded + i % n];
    values[i] = x[row * n + at];
    index[i] = at;
  }
}

template <class T>
__global__ void topk_backward_kernel(int64_t count, int64_t n, int64_t k, View<const T> dy, View<const int64_t> index,
                                     View<T> dx) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) dx[i / k * n + index[i]] = dy[i];
}

template <class T>
using Total = std::conditional_t<std::is_same_v<T, int64_t>, int64_t, double>;

/// A warp for each row: 32 elements at a time, whose sums are those of the lanes before.
template <class T>
__global__ void cumsum_rows_kernel(int64_t rows, int64_t n, bool reverse, View<const T> x, View<T> y) {
  using A = Total<T>;
  const int lane = threadIdx.x % kWarp;
  for (int64_t row = global_thread() / kWarp; row < rows; row += global_threads() / kWarp) {
    A before = 0;
    for (int64_t k = 0; k < n; k += kWarp) {
      const int64_t step = k + lane, i = row * n + (reverse ? n - 1 - step : step);
      A sum = step < n ? convert<A>(x[i]) : A(0);
      for (int lanes = 1; lanes < kWarp; lanes *= 2) {
        const A left = __shfl_up_sync(kAllLanes, sum, lanes);
        if (lane >= lanes) sum += left;
      }
      if (step < n) y[i] = convert<T>(before + sum);
      before += __shfl_sync(kAllLanes, sum, kWarp - 1);
    }
  }
}

/// A thread for each column [o, :, i].
template <class T>
__global__ void cumsum_columns_kernel(int64_t columns, int64_t n, int64_t inner, bool reverse, View<const T> x,
                                      View<T> y) {
  for (int64_t c = global_thread(); c < columns; c += global_threads()) {
    const int64_t first = c / inner * n * inner + c % inner;
    Total<T> sum = 0;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = first + (reverse ? n - 1 - k : k) * inner;
      sum += convert<Total<T>>(x[i]);
      y[i] = convert<T>(sum);
    }
  }
}

}  // namespace

void argmax_forward(const Tensor& x, int64_t n, int64_t inner, Tensor& index) {
  const int64_t count = index.numel();
  if (count == 0) return;
  visit_element<true>(x, "argmax", [&](auto tag) {
    using T = decltype(tag);
    if (inner == 1)
      launch({x.device(), "argmax", blocks_for(count * kWarp, 256), 256}, argmax_rows_kernel<T>, count, n,
             view<const T>(x), view<int64_t>(index));
    else
      launch({x.device(), "argmax", blocks_for(count, 256), 256, 0, true}, argmax_columns_kernel<T>, count, n, inner,
             view<const T>(x), view<int64_t>(index));
  });
}

void topk_forward(const Tensor& x, int64_t n, int64_t k, Tensor& values, Tensor& index) {
  if (values.numel() == 0) return;
  visit_element<true>(x, "topk", [&](auto tag) {
    using T = decltype(tag);
    launch({x.device(), "topk", dim3(static_cast<unsigned>(values.numel() / k)), kTopThreads}, topk_kernel<T>, n, k,
           view<const T>(x), view<T>(values), view<int64_t>(index));
  });
}

void sort_forward(const Tensor& x, int64_t n, bool descending, Tensor& values, Tensor& index) {
  if (x.numel() == 0) return;
  int64_t padded = 2;
  while (padded < n) padded *= 2;
  const int64_t count = x.numel(), places = count / n * padded;
  const View<int64_t> order(workspace<int64_t>(x.device(), places), places);
  visit_element<true>(x, "sort", [&](auto tag) {
    using T = decltype(tag);
    launch({x.device(), "sort", blocks_for(places, 256), 256, 0, true}, positions_kernel, places, padded, order);
    for (int64_t run = 2; run <= padded; run *= 2)
      for (int64_t apart = run / 2; apart > 0; apart /= 2)
        launch({x.device(), "sort", blocks_for(places / 2, 256), 256, 0, true}, sort_step_kernel<T>, places / 2, padded,
               n, run, apart, descending, view<const T>(x), order);
    launch({x.device(), "sort", blocks_for(count, 256), 256, 0, true}, sorted_kernel<T>, count, padded, n,
           view<const T>(x), View<const int64_t>(order.p, places), view<T>(values), view<int64_t>(index));
  });
}

void topk_backward(const Tensor& dy, const Tensor& index, int64_t n, int64_t k, Tensor& dx) {
  fill_bytes(dx.device(), dx.raw(), 0, dx.numel() * item_size(dx.dtype()));
  visit_cuda_float(dy, "topk", [&](auto tag) {
    using T = decltype(tag);
    launch({dx.device(), "topk", blocks_for(dy.numel(), 256), 256, 0, true}, topk_backward_kernel<T>, dy.numel(), n, k,
           view<const T>(dy), view<const int64_t>(index), view<T>(dx));
  });
}

void cumsum_forward(const Tensor& x, int64_t n, int64_t inner, bool reverse, Tensor& y) {
  if (x.numel() == 0) return;
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    const int64_t columns = x.numel() / n;
    if (inner == 1)
      launch({x.device(), "cumsum", blocks_for(columns * kWarp, 256), 256}, cumsum_rows_kernel<T>, columns, n, reverse,
             view<const T>(x), view<T>(y));
    else
      launch({x.device(), "cumsum", blocks_for(columns, 256), 256, 0, true}, cumsum_columns_kernel<T>, columns, n,
             inner, reverse, view<const T>(x), view<T>(y));
  };
  if (x.dtype() == int64)
    run(int64_t{});
  else
    visit_cuda_float(x, "cumsum", run);
}

}  // namespace atlas::inline ATLAS_ABI::cuda
