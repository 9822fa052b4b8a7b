// Max pooling on CUDA: a thread for a pack of channels of one pixel. Backward gathers, so nothing is added atomically.
#include "atlas/cuda/vector.cuh"
#include "atlas/kernels/pool.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 256;

/// Lengths of a pooling; `packs` of channels. Places are counted in 32 bits.
struct PoolShape {
  int height, width, out_height, out_width, packs;
  int kh, kw, sh, sw, ph, pw;
  Divider by_packs, by_width, by_height;  // of what the threads count: outputs, or inputs in backward

  PoolShape(const Tensor& in, const Tensor& out, const PoolWindow& w, int64_t channel_packs, const Tensor& counted)
      : height(static_cast<int>(in.shape()[1])),
        width(static_cast<int>(in.shape()[2])),
        out_height(static_cast<int>(out.shape()[1])),
        out_width(static_cast<int>(out.shape()[2])),
        packs(static_cast<int>(channel_packs)),
        kh(static_cast<int>(w.kernel[0])),
        kw(static_cast<int>(w.kernel[1])),
        sh(static_cast<int>(w.stride[0])),
        sw(static_cast<int>(w.stride[1])),
        ph(static_cast<int>(w.padding[0])),
        pw(static_cast<int>(w.padding[1])),
        by_packs(channel_packs),
        by_width(counted.shape()[2]),
        by_height(counted.shape()[1]) {}

  /// First element of a pack of N channels.
  template <int N>
  __device__ int64_t at(int image_height, int image_width, int b, int h, int w, int pack) const {
    return (((int64_t{b} * image_height + h) * image_width + w) * packs + pack) * N;
  }
};

/// Image, row, column and pack of one thread's pixel.
struct PoolPlace {
  int b, h, w, pack;
  __device__ PoolPlace(const PoolShape& s, int64_t i) {
    uint32_t rest = static_cast<uint32_t>(i);
    uint32_t pixel = s.by_packs.split(rest);
    uint32_t row = s.by_width.split(pixel);
    pack = static_cast<int>(rest);
    w = static_cast<int>(pixel);
    b = static_cast<int>(s.by_height.split(row));
    h = static_cast<int>(row);
  }
};

// A later pixel replaces an earlier one when it is larger or NaN, so the first maximum wins and NaN spreads.
template <class T, class I, int N>
__global__ void max_pool_kernel(View<const T> x, PoolShape s, int64_t count, View<T> y, View<I> index) {
  using A = Compute<T>;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const PoolPlace at(s, i);
    const int top = at.h * s.sh - s.ph, left = at.w * s.sw - s.pw;
    const int k0 = max(0, -top), k1 = min(s.kh, s.height - top);
    const int l0 = max(0, -left), l1 = min(s.kw, s.width - left);
    A best[N];
    I position[N];
#pragma unroll
    for (int j = 0; j < N; ++j) {
      best[j] = -std::numeric_limits<A>::infinity();
      position[j] = static_cast<I>(int64_t{k0} * s.kw + l0);
    }
    for (int k = k0; k < k1; ++k) {
      for (int l = l0; l < l1; ++l) {
        A v[N];
        load_values<N>(x, s.at<N>(s.height, s.width, at.b, top + k, left + l, at.pack), v);
#pragma unroll
        for (int j = 0; j < N; ++j) {
          if (v[j] > best[j] || v[j] != v[j]) {
            best[j] = v[j];
            position[j] = static_cast<I>(int64_t{k} * s.kw + l);
          }
        }
      }
    }
    store_values<N>(y, i * N, best);
    if (index) store_elements<N>(index.at(i * N, N), position);
  }
}

// dx[h, w] = Σ over windows (i, j) that cover (h, w) of dy[i, j] where index[i, j] is the position of (h, w) in (i, j).
template <class T, class I, int N>
__global__ void max_pool_backward_kernel(View<const I> index, View<const T> dy, PoolShape s, int64_t count,
                                         View<T> dx) {
  using A = Compute<T>;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const PoolPlace at(s, i);
    const int h = at.h + s.ph, w = at.w + s.pw;
    A sum[N] = {};
    for (int oh = max(0, (h - s.kh + s.sh) / s.sh); oh <= h / s.sh && oh < s.out_height; ++oh) {
      for (int ow = max(0, (w - s.kw + s.sw) / s.sw); ow <= w / s.sw && ow < s.out_width; ++ow) {
        const I position = static_cast<I>(int64_t{h - oh * s.sh} * s.kw + w - ow * s.sw);
        const int64_t from = s.at<N>(s.out_height, s.out_width, at.b, oh, ow, at.pack);
        A g[N];
        load_values<N>(dy, from, g);
        I chosen[N];
        load_elements<N>(index.at(from, N), chosen);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += chosen[j] == position ? g[j] : A(0);
      }
    }
    store_values<N>(dx, i * N, sum);
  }
}

/// Calls f(T{}, I{}, N) for the element type, the index type and the width of a pack.
template <class F>
void visit(const Tensor& x, const Tensor& y, const Tensor& index, const PoolWindow& window, const F& f) {
  visit_cuda_float(x, "max_pool2d", [&](auto t) {
    using T = decltype(t);
    visit_pack<T>(pack_width<T>(x.shape()[3], x, y, index), [&](auto pack) {
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
  visit(x, y, index, window, [&](auto t, auto i, auto pack) {
    using T = decltype(t);
    using I = decltype(i);
    constexpr int N = pack;
    const int64_t count = y.numel() / N;
    check_count(count, "max_pool2d", y);
    launch({x.device(), "max_pool2d", blocks_for(count, kThreads), dim3(kThreads), 0, true}, max_pool_kernel<T, I, N>,
           view<const T>(x), PoolShape(x, y, window, x.shape()[3] / N, y), count, view<T>(y), view<I>(index));
  });
}

void max_pool2d_backward(const Tensor& index, const Tensor& dy, const PoolWindow& window, Tensor& dx) {
  if (dx.numel() == 0) return;
  visit(dx, dy, index, window, [&](auto t, auto i, auto pack) {
    using T = decltype(t);
    using I = decltype(i);
    constexpr int N = pack;
    const int64_t count = dx.numel() / N;
    check_count(count, "max_pool2d", dx);
    launch({dx.device(), "max_pool2d backward", blocks_for(count, kThreads), dim3(kThreads), 0, true},
           max_pool_backward_kernel<T, I, N>, view<const I>(index), view<const T>(dy),
           PoolShape(dx, dy, window, dx.shape()[3] / N, dx), count, view<T>(dx));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
