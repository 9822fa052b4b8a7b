// Element-wise kernels over strided, broadcast operands: y[i] = op(x0[i], x1[i], ...).
//
// Axes that lie next to each other in every operand are merged on the host; what is left is contiguous in most cases.
// A thread then computes the elements of 16 bytes at a time, also when an operand repeats along the last axis (a bias,
// a scale). Everything else goes element by element.
#pragma once

#include <array>
#include <cstdint>
#include <tuple>
#include <utility>

#include "atlas/cuda/vector.cuh"
#include "atlas/tensor/strided.h"

namespace atlas::inline ATLAS_ABI::cuda {

/// Merged axes of N operands and how to step along them, in elements.
template <int N>
struct Layout {
  int dims = 0;
  bool small = true;  ///< indices fit into 32 bits, where division is fast
  int64_t length[kMaxDims] = {};
  int64_t stride[N][kMaxDims] = {};

  Layout() = default;
  Layout(const Shape& shape, const std::array<Shape, N>& strides) {
    const StridedLoop<N> loop(shape, strides);
    dims = loop.lengths().size();
    small = shape.numel() < int64_t{1} << 31;
    for (int d = 0; d < dims; ++d) {
      length[d] = loop.lengths()[d];
      for (int k = 0; k < N; ++k) stride[k][d] = loop.strides(k)[d];
    }
  }

  /// Where element i of the row-major order is in each operand.
  __device__ void offsets(int64_t i, int64_t (&o)[N]) const {
    for (int k = 0; k < N; ++k) o[k] = 0;
    for (int d = dims - 1; d > 0; --d) {
      const int64_t q =
          small ? static_cast<int64_t>(static_cast<uint32_t>(i) / static_cast<uint32_t>(length[d])) : i / length[d];
      const int64_t index = i - q * length[d];
      for (int k = 0; k < N; ++k) o[k] += index * stride[k][d];
      i = q;
    }
    for (int k = 0; k < N; ++k) o[k] += i * stride[k][0];
  }
};

/// Elements of one pack: 16 bytes of the widest type; 1 for types of 8 bytes, which are not worth the code.
template <class... T>
constexpr int map_width() {
  constexpr size_t widest = std::max({sizeof(T)...});
  return widest >= 8 ? 1 : static_cast<int>(16 / widest);
}

/// A pack from offset o on: V neighbors, or one element V times.
template <int V, class T>
__device__ Pack<std::remove_const_t<T>, V> load_pack(const View<T>& x, int64_t o, bool repeats) {
  using P = Pack<std::remove_const_t<T>, V>;
  if constexpr (V > 1)
    if (!repeats) return *reinterpret_cast<const P*>(x.at(o, V));
  P p;
  const T value = x[o];
  for (int j = 0; j < V; ++j) p.v[j] = value;
  return p;
}

namespace detail {

template <int V, class Op, class Out, class... In, size_t... K>
__device__ void map_pack(const Op& op, const int64_t* o, [[maybe_unused]] const bool* repeats, const View<Out>& y,
                         std::index_sequence<K...>, const View<const In>&... in) {
  [[maybe_unused]] const auto loaded = std::tuple<Pack<In, V>...>{load_pack<V>(in, o[K + 1], repeats[K + 1])...};
  Pack<Out, V> result;
  for (int j = 0; j < V; ++j) result.v[j] = op(std::get<K>(loaded).v[j]...);
  *reinterpret_cast<Pack<Out, V>*>(y.at(o[0], V)) = result;
}

}  // namespace detail

/// `count` packs of V elements (axes of the layout are in packs), then `rest` elements behind them, contiguous in all
/// operands that do not repeat.
template <int V, class Op, class Out, class... In>
__global__ void map_kernel(Op op, Layout<1 + sizeof...(In)> layout, int64_t count, int64_t rest, View<Out> y,
                           View<const In>... in) {
  constexpr int N = 1 + sizeof...(In);
  bool repeats[N];
  for (int k = 0; k < N; ++k) repeats[k] = layout.stride[k][layout.dims - 1] == 0;
  int64_t o[N];
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    layout.offsets(i, o);
    detail::map_pack<V>(op, o, repeats, y, std::index_sequence_for<In...>{}, in...);
  }
  if (V > 1 && global_thread() < rest) {
    for (int k = 0; k < N; ++k) o[k] = repeats[k] ? 0 : count * V + global_thread();
    detail::map_pack<1>(op, o, repeats, y, std::index_sequence_for<In...>{}, in...);
  }
}

/// Elements of a tensor as values of T, which has their size.
template <class T>
View<T> bits_view(const Tensor& t) {
  int64_t last = t.numel() > 0 ? 1 : 0;
  for (int i = 0; i < t.dim() && last > 0; ++i) last += (t.shape()[i] - 1) * t.strides()[i];
  return {static_cast<T*>(t.raw()), last};
}

/// y[i] = op(x[i]...) with elements of Out and In (of the sizes of the tensors' types). The x broadcast to y's shape;
/// y may be one of them.
template <class Out, class... In, class Op, class... Tensors>
void map(const char* name, const Op& op, const Tensor& y, const Tensors&... x) {
  constexpr int N = 1 + sizeof...(In), V = map_width<Out, In...>();
  const int64_t n = y.numel();
  if (n == 0) return;
  Layout<N> layout(y.shape(), {y.strides(), broadcast_strides(x.shape(), x.strides(), y.shape())...});
  constexpr int threads = 256;
  const auto run = [&](auto width, int64_t count, int64_t rest) {
    launch({y.device(), name, blocks_for(std::max(count, rest), threads), threads, 0, true},
           map_kernel<decltype(width)::value, Op, Out, In...>, op, layout, count, rest, bits_view<Out>(y),
           bits_view<const In>(x)...);
  };
  if constexpr (V > 1) {
    // Packs need: steps of 1 or 0 along the last axis (1 for y), and the first element and all other steps at
    // multiples of a pack.
    const int last = layout.dims - 1;
    const size_t item[N] = {sizeof(Out), sizeof(In)...};
    const void* first[N] = {y.raw(), x.raw()...};
    bool packed = layout.stride[0][last] == 1 && layout.length[last] >= V;
    for (int k = 0; k < N && packed; ++k) {
      const int64_t step = layout.stride[k][last];
      packed = step == 0 || (step == 1 && reinterpret_cast<uintptr_t>(first[k]) % (item[k] * V) == 0);
      for (int d = 0; d < last && step == 1; ++d) packed = packed && layout.stride[k][d] % V == 0;
    }
    if (packed && (last == 0 || layout.length[last] % V == 0)) {
      const int64_t rest = layout.length[last] % V;
      layout.length[last] /= V;
      for (int k = 0; k < N; ++k) layout.stride[k][last] *= V;
      return run(std::integral_constant<int, V>{}, n / V, rest);
    }
  }
  run(std::integral_constant<int, 1>{}, n, 0);
}

}  // namespace atlas::inline ATLAS_ABI::cuda
