// Separable resampling on CUDA: a thread for a pack of channels of an output pixel. Where the two sums together read
// many pixels they are taken one after the other, with the rows' results in scratch memory.
#include <list>
#include <mutex>

#include "atlas/cuda/vector.cuh"
#include "atlas/kernels/resize.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kBlock = 64;  // numbers that are added up in float32

/// ResampleTaps in device memory.
template <class A>
struct Taps {
  View<const int64_t> at;  // begin, count, first of each output index
  View<const double> weight;
  int64_t size;
  __device__ int64_t begin(int64_t i) const { return at[3 * i]; }
  __device__ int64_t count(int64_t i) const { return at[3 * i + 1]; }
  __device__ A factor(int64_t i, int64_t k) const { return static_cast<A>(weight[at[3 * i + 2] + k]); }
};

/// The same taps are asked for in every step of a training run; the last of them stay on their device.
class TapsCache {
 public:
  template <class A>
  Taps<A> get(Device device, const ResampleTaps& taps) {
    const std::lock_guard lock(mutex_);
    const Entry& e = find(device, taps);
    return {view<const int64_t>(e.at), view<const double>(e.weight), taps.size()};
  }

 private:
  static constexpr size_t kEntries = 64;
  struct Entry {
    ResampleTaps taps;
    Device device;
    Tensor at, weight;
  };

  const Entry& find(Device device, const ResampleTaps& taps) {
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (it->device == device && it->taps.begin == taps.begin && it->taps.count == taps.count &&
          it->taps.weight == taps.weight) {
        entries_.splice(entries_.begin(), entries_, it);
        return entries_.front();
      }
    }
    std::vector<int64_t> at;
    for (size_t i = 0; i < taps.begin.size(); ++i) at.insert(at.end(), {taps.begin[i], taps.count[i], taps.first[i]});
    entries_.push_front({taps, device, upload(device, int64, at), upload(device, float64, taps.weight)});
    if (entries_.size() > kEntries) entries_.pop_back();
    return entries_.front();
  }
  template <class T>
  static Tensor upload(Device device, DType dtype, const std::vector<T>& values) {
    Tensor t = empty({static_cast<int64_t>(values.size())}, dtype, device);
    copy_bytes(t.raw(), device, values.data(), Device{}, static_cast<int64_t>(values.size() * sizeof(T)));
    return t;
  }

  std::mutex mutex_;
  std::list<Entry> entries_;  // last used first
};
TapsCache& taps_cache() {
  static auto& cache = *new TapsCache;  // outlives everything: the driver may be gone when statics are destroyed
  return cache;
}

/// Numbers of type T as they are computed with; uint8 is rounded half up and clamped on the way out.
template <int N, class T>
__device__ void load_numbers(const View<const T>& x, int64_t i, Compute<T> (&v)[N]) {
  load_values<N>(x, i, v);
}
template <int N, class T>
__device__ void store_numbers(const View<T>& y, int64_t i, Compute<T> (&v)[N]) {
  if constexpr (std::is_same_v<T, uint8_t>) {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float r = v[j] + 0.5f;
      v[j] = r < 0.0f ? 0.0f : (r > 255.0f ? 255.0f : r);
    }
  }
  store_values<N>(y, i, v);
}

/// Image, output row, output column and pack of a thread.
struct ResampleShape {
  int height, width, packs;  // of the input
  Divider by_packs, by_columns, by_rows;
};

// y[b, i, j, c] = Σ_k Σ_l rows[i, k] columns[j, l] x[b, begin_i + k, begin_j + l, c]
template <class In, class Out, int N>
__global__ void resample_kernel(View<const In> x, ResampleShape s, Taps<Compute<Out>> rows, Taps<Compute<Out>> columns,
                                int64_t count, View<Out> y) {
  using A = Compute<Out>;
  for (int64_t at = global_thread(); at < count; at += global_threads()) {
    uint32_t pack = static_cast<uint32_t>(at);
    uint32_t j = s.by_packs.split(pack), i = s.by_columns.split(j);
    const uint32_t b = s.by_rows.split(i);
    const int64_t top = rows.begin(i), left = columns.begin(j);
    const int tall = static_cast<int>(rows.count(i)), wide = static_cast<int>(columns.count(j));
    A sum[N] = {};
    double sums[N] = {};  // of blocks: roundings add up over the numbers of one alone
    int in_block = 0;
    for (int l = 0; l < wide; ++l) {
      const A weight = columns.factor(j, l);
      const int64_t column = ((int64_t{b} * s.height + top) * s.width + left + l) * s.packs + pack;
      for (int k = 0; k < tall; ++k) {
        const A w = weight * rows.factor(i, k);
        A v[N];
        load_numbers<N>(x, (column + int64_t{k} * s.width * s.packs) * N, v);
#pragma unroll
        for (int n = 0; n < N; ++n) sum[n] += w * v[n];
        if (++in_block == kBlock) {
          in_block = 0;
#pragma unroll
          for (int n = 0; n < N; ++n) sums[n] += sum[n], sum[n] = 0;
        }
      }
    }
#pragma unroll
    for (int n = 0; n < N; ++n) sum[n] = static_cast<A>(sums[n] + sum[n]);
    store_numbers<N>(y, at * N, sum);
  }
}

/// Taps that leave an axis of `length` as it is.
ResampleTaps identity(int64_t length) {
  ResampleTaps taps;
  for (int64_t i = 0; i < length; ++i) taps.push_back(i, {1.0});
  return taps;
}

template <class In, class Out>
void resample(const Tensor& image, View<const In> x, int64_t height, int64_t width, int pack, const ResampleTaps& rows,
              const ResampleTaps& columns, View<Out> y) {
  const Device device = image.device();
  const int64_t packs = image.shape()[3] / pack, count = image.shape()[0] * rows.size() * columns.size() * packs;
  check_count(count, "resample2d", image);
  const auto r = taps_cache().get<Compute<Out>>(device, rows), c = taps_cache().get<Compute<Out>>(device, columns);
  const ResampleShape shape{static_cast<int>(height), static_cast<int>(width), static_cast<int>(packs),
                            Divider(packs),           Divider(columns.size()), Divider(rows.size())};
  const Launch how{device, "resample2d", blocks_for(count, kThreads), dim3(kThreads), 0, true};
  if (pack == 4)
    launch(how, resample_kernel<In, Out, 4>, x, shape, r, c, count, y);
  else
    launch(how, resample_kernel<In, Out, 1>, x, shape, r, c, count, y);
}

}  // namespace

void resample2d(const Tensor& x, const ResampleTaps& rows, const ResampleTaps& columns, Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t batch = x.shape()[0], height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    const int n = channels % 4 == 0 && detail::aligned(x, 4) && detail::aligned(y, 4) ? 4 : 1;
    // Pixels that one output reads, on average, in one pass and in two.
    const double tall = static_cast<double>(rows.weight.size()) / static_cast<double>(rows.size());
    const double wide = static_cast<double>(columns.weight.size()) / static_cast<double>(columns.size());
    const bool twice = tall * wide > 16 && tall > 1.5 && wide > 1.5;
    if (!twice) return resample<T, T>(x, view<const T>(x), height, width, n, rows, columns, view<T>(y));
    const int64_t between = batch * rows.size() * width * channels;
    A* lines = workspace<A>(x.device(), between);
    resample<T, A>(x, view<const T>(x), height, width, n, rows, identity(width), View<A>(lines, between));
    resample<A, T>(x, View<const A>(lines, between), rows.size(), width, n, identity(rows.size()), columns, view<T>(y));
  };
  if (x.dtype() == uint8)
    run(uint8_t{});
  else
    visit_cuda_float(x, "resample2d", run);
}

}  // namespace atlas::inline ATLAS_ABI::cuda
