// Max pooling on CUDA: a thread for a pack of channels of one pixel. Backward gathers, so nothing is added atomically.
#include "atlas/cuda/vector.cuh"
#include "atlas/kernels/pool.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 256;

/// Lengths of a pooling; `packs` of channels.
struct PoolShape {
  int64_t height, width, out_height, out_width, packs;
  int64_t kh, kw, sh, sw, ph, pw;
  PoolShape(const Tensor& in, const Tensor& out, const PoolWindow& w, int64_t channel_packs)
      : height(in.shape()[1]),
        width(in.shape()[2]),
        out_height(out.shape()[1]),
        out_width(out.shape()[2]),
        packs(channel_packs),
        kh(w.kernel[0]),
        kw(w.kernel[1]),
        sh(w.stride[0]),
        sw(w.stride[1]),
        ph(w.padding[0]),
        pw(w.padding[1]) {}
};

// A later pixel replaces an earlier one when it is larger or NaN, so the first maximum wins and NaN spreads.
template <class T, class I, int N>
__global__ void max_pool_kernel(View<const T> x, PoolShape s, int64_t count, View<T> y, View<I> index) {
  using A = Compute<T>;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t pack = i % s.packs, pixel = i / s.packs, column = pixel % s.out_width, row = pixel / s.out_width;
    const int64_t b = row / s.out_height, top = row % s.out_height * s.sh - s.ph, left = column * s.sw - s.pw;
    const int64_t k0 = max(int64_t{0}, -top), k1 = min(s.kh, s.height - top);
    const int64_t l0 = max(int64_t{0}, -left), l1 = min(s.kw, s.width - left);
    A best[N];
    I position[N];
#pragma unroll
    for (int j = 0; j < N; ++j) {
      best[j] = -std::numeric_limits<A>::infinity();
      position[j] = static_cast<I>(k0 * s.kw + l0);
    }
    for (int64_t k = k0; k < k1; ++k) {
      for (int64_t l = l0; l < l1; ++l) {
        A v[N];
        load_values<N>(x, (((b * s.height + top + k) * s.width + left + l) * s.packs + pack) * N, v);
#pragma unroll
        for (int j = 0; j < N; ++j) {
          if (v[j] > best[j] || v[j] != v[j]) {
            best[j] = v[j];
            position[j] = static_cast<I>(k * s.kw + l);
          }
        }
      }
    }
    store_values<N>(y, i * N, best);
    if (index) {
      I* to = index.at(i * N, N);
#pragma unroll
      for (int j = 0; j < N; ++j) to[j] = position[j];
    }
  }
}

// dx[h, w] = Σ over windows (i, j) that cover (h, w) of dy[i, j] where index[i, j] is the position of (h, w) in (i, j).
template <class T, class I, int N>
__global__ void max_pool_backward_kernel(View<const I> index, View<const T> dy, PoolShape s, int64_t count,
                                         View<T> dx) {
  using A = Compute<T>;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t pack = i % s.packs, pixel = i / s.packs, w = pixel % s.width + s.pw, row = pixel / s.width;
    const int64_t b = row / s.height, h = row % s.height + s.ph;
    A sum[N] = {};
    for (int64_t oh = max(int64_t{0}, (h - s.kh + s.sh) / s.sh); oh <= h / s.sh && oh < s.out_height; ++oh) {
      for (int64_t ow = max(int64_t{0}, (w - s.kw + s.sw) / s.sw); ow <= w / s.sw && ow < s.out_width; ++ow) {
        const I position = static_cast<I>((h - oh * s.sh) * s.kw + w - ow * s.sw);
        const int64_t at = (((b * s.out_height + oh) * s.out_width + ow) * s.packs + pack) * N;
        A g[N];
        load_values<N>(dy, at, g);
        const I* chosen = index.at(at, N);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += chosen[j] == position ? g[j] : A(0);
      }
    }
    store_values<N>(dx, i * N, sum);
  }
}

/// Calls f(T{}, I{}, N) for the element type, the index type and the width of a pack.
template <class F>
void visit(const Tensor& x, const Tensor& y, const PoolWindow& window, const F& f) {
  visit_cuda_float(x, "max_pool2d", [&](auto t) {
    using T = decltype(t);
    visit_pack<T>(pack_width<T>(x.shape()[3], x, y), [&](auto pack) {
      if (window.index_dtype() == uint8)
        f(t, uint8_t{}, pack);
      else
        f(t, int64_t{}, pack);
    });
  });
}

}  // namespace

void max_pool2d_forward(const Tensor& x, const PoolWindow& window, Tensor& y, Tensor& index) {
  if (y.numel() == 0) return;
  visit(x, y, window, [&](auto t, auto i, auto pack) {
    using T = decltype(t);
    using I = decltype(i);
    constexpr int N = pack;
    const int64_t count = y.numel() / N;
    launch({x.device(), "max_pool2d", blocks_for(count, kThreads), dim3(kThreads), 0, true}, max_pool_kernel<T, I, N>,
           view<const T>(x), PoolShape(x, y, window, x.shape()[3] / N), count, view<T>(y), view<I>(index));
  });
}

void max_pool2d_backward(const Tensor& index, const Tensor& dy, const PoolWindow& window, Tensor& dx) {
  if (dx.numel() == 0) return;
  visit(dx, dy, window, [&](auto t, auto i, auto pack) {
    using T = decltype(t);
    using I = decltype(i);
    constexpr int N = pack;
    const int64_t count = dx.numel() / N;
    launch({dx.device(), "max_pool2d backward", blocks_for(count, kThreads), dim3(kThreads), 0, true},
           max_pool_backward_kernel<T, I, N>, view<const I>(index), view<const T>(dy),
           PoolShape(dx, dy, window, dx.shape()[3] / N), count, view<T>(dx));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
