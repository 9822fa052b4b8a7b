// CUDA kernels of dropout and drop_path. The masks are the CPU's: element i (or row i) is kept by word i % 4 of
// Philox(seed, stream, i / 4).
#include "atlas/core/cuda_graph.h"
#include "atlas/cuda/elements.cuh"
#include "atlas/kernels/dropout.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

template <class T>
struct Keep {
  uint64_t seed, stream;
  const uint64_t* offset;  // what the replay of a graph adds to the stream
  uint32_t threshold;      // of 24 random bits, which keep what reaches it
  Arithmetic<T> scale;
  __device__ Philox draw(uint64_t i) const { return Philox(seed, stream + (offset != nullptr ? *offset : 0), i); }
  __device__ T operator()(T x, const Philox& draw, int word) const {
    return (draw.v[word] >> 8) >= threshold ? element<T>(Arithmetic<T>(x) * scale) : T(Arithmetic<T>(0));
  }
};
template <class T>
Keep<T> keep(Device device, double p, uint64_t seed, uint64_t stream) {
  const auto scale = p < 1 ? static_cast<Arithmetic<T>>(1 / (1 - p)) : Arithmetic<T>(0);
  return {seed, stream, random_offset(device), static_cast<uint32_t>(p * 0x1p24 + 0.5), scale};
}

/// A thread for each four elements, which share a draw; of the first four, `before` are not there.
template <class T>
__global__ void dropout_kernel(Keep<T> kept, int64_t draws_before, int before, int64_t n, bool packed, View<const T> x,
                               View<T> y) {
  using Four = Pack<T, 4>;
  for (int64_t group = global_thread(); group * 4 - before < n; group += global_threads()) {
    const Philox draw = kept.draw(static_cast<uint64_t>(draws_before + group));
    const int64_t first = group * 4 - before;
    if (packed && first + 4 <= n) {
      Four v = *reinterpret_cast<const Four*>(x.at(first, 4));
      for (int j = 0; j < 4; ++j) v.v[j] = kept(v.v[j], draw, j);
      *reinterpret_cast<Four*>(y.at(first, 4)) = v;
    } else {
      for (int j = first < 0 ? before : 0; j < 4 && first + j < n; ++j) y[first + j] = kept(x[first + j], draw, j);
    }
  }
}

/// Rows of `length` elements share a draw, which a thread makes once for its packs of N of them. Blocks (x, row).
template <class T, int N>
__global__ void drop_path_kernel(Keep<T> kept, int64_t rows, int64_t length, View<const T> x, View<T> y) {
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const Philox draw = kept.draw(static_cast<uint64_t>(row / 4));
    const int word = static_cast<int>(row % 4);
    for (int64_t i = global_thread() * N; i < length; i += global_threads() * N) {
      T v[N];
      load_elements<N>(x.at(row * length + i, N), v);
      for (int j = 0; j < N; ++j) v[j] = kept(v[j], draw, word);
      store_elements<N>(y.at(row * length + i, N), v);
    }
  }
}

}  // namespace

void dropout(const Tensor& x, double p, uint64_t seed, uint64_t stream, int64_t first, Tensor& y) {
  const int64_t n = x.numel();
  const auto before = static_cast<int>(first % 4);
  visit_cuda_float(x, "dropout", [&](auto tag) {
    using T = decltype(tag);
    const bool packed =
        before == 0 &&
        (reinterpret_cast<uintptr_t>(x.raw()) | reinterpret_cast<uintptr_t>(y.raw())) % (4 * sizeof(T)) == 0;
    launch({y.device(), "dropout", blocks_for((n + before + 3) / 4, 256), 256, 0, true}, dropout_kernel<T>,
           keep<T>(y.device(), p, seed, stream), first / 4, before, n, packed, view<const T>(x), view<T>(y));
  });
}

void drop_path(const Tensor& x, double p, uint64_t seed, uint64_t stream, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape()[0], length = x.numel() / rows;
  visit_cuda_float(x, "drop_path", [&](auto tag) {
    using T = decltype(tag);
    visit_pack<T>(pack_width<T>(length, x, y), [&](auto pack) {
      dim3 grid = blocks_for((length / pack + 3) / 4, 256);  // four packs of a thread repay its draw
      grid.y = static_cast<unsigned>(std::min<int64_t>(rows, 65535));
      launch({y.device(), "drop_path", grid, 256, 0, true}, drop_path_kernel<T, pack>,
             keep<T>(y.device(), p, seed, stream), rows, length, view<const T>(x), view<T>(y));
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
