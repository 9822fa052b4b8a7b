// Reductions of any axes of a strided tensor, in a fixed order: y[k] = reduce over r of x[k, r].
//
// Two mappings. Rows: lanes of a warp walk the reduced axes of one result, for tensors whose last axis is reduced.
// Columns: neighboring threads take neighboring results, for tensors whose last axis stays. Where the results are too
// few to fill a GPU, the reduced axes are cut into pieces, whose partial results a second kernel merges.
#pragma once

#include "atlas/cuda/map.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

template <class T>
__device__ T from_lane_xor(T v, int lanes) {
  if constexpr (sizeof(T) < 4)
    return static_cast<T>(__shfl_xor_sync(kAllLanes, static_cast<int>(v), lanes));
  else
    return __shfl_xor_sync(kAllLanes, v, lanes);
}

/// Merges the partial results of a warp's lanes; all lanes get the result.
template <class R>
__device__ typename R::Acc merge_warp(typename R::Acc v) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) v = R::merge(v, from_lane_xor(v, lanes));
  return v;
}

inline constexpr int kReduceThreads = 256;

/// Where results and elements are: `kept` has the strides of y and x along the axes that stay, `gone` those of x along
/// the axes that are reduced.
struct ReduceAxes {
  Layout<2> kept;
  Layout<1> gone;
  int64_t results = 1, length = 1;  // elements of y; of x for each of them
  int64_t piece = 1, pieces = 1;    // reduced by one warp (rows) or thread block (columns)
};

/// The elements begin, begin + step, ... before `end` of the result whose elements begin at `first`, in this order.
template <class R, class T>
__device__ typename R::Acc add_strand(const ReduceAxes& axes, const View<const T>& x, int64_t first, int64_t begin,
                                      int64_t end, int64_t step) {
  typename R::Acc acc = R::init();
  if (axes.gone.dims == 1) {  // mostly so; several loads are under way at once then
    const int64_t stride = axes.gone.stride[0][0];
#pragma unroll 4
    for (int64_t i = begin; i < end; i += step) acc = R::add(acc, x[first + i * stride]);
    return acc;
  }
  int64_t o[1];
  for (int64_t i = begin; i < end; i += step) {
    axes.gone.offsets(i, o);
    acc = R::add(acc, x[first + o[0]]);
  }
  return acc;
}

/// A warp for each result and piece. Writes y, or partial[piece, result] when there are several pieces.
template <class R, class T>
__global__ void reduce_rows_kernel(R r, ReduceAxes axes, View<const T> x, View<typename R::Out> y,
                                   View<typename R::Acc> partial) {
  const int lane = threadIdx.x % kWarp;
  const int64_t warps = global_threads() / kWarp, count = axes.results * axes.pieces;
  for (int64_t w = global_thread() / kWarp; w < count; w += warps) {
    const int64_t k = w % axes.results, p = w / axes.results;
    const int64_t end = min((p + 1) * axes.piece, axes.length);
    int64_t at[2];
    axes.kept.offsets(k, at);
    const auto acc = merge_warp<R>(add_strand<R>(axes, x, at[1], p * axes.piece + lane, end, kWarp));
    if (lane == 0) {
      if (axes.pieces == 1)
        y[at[0]] = r.finish(acc);
      else
        partial[w] = acc;
    }
  }
}

/// Blocks of 32 x 8 threads: 32 results, of which 8 threads share the elements of a piece.
template <class R, class T>
__global__ void reduce_columns_kernel(R r, ReduceAxes axes, View<const T> x, View<typename R::Out> y,
                                      View<typename R::Acc> partial) {
  using Acc = typename R::Acc;
  __shared__ Acc accs[8][kWarp];
  const int64_t k = int64_t{blockIdx.x} * kWarp + threadIdx.x, p = blockIdx.y;
  const int64_t end = min((p + 1) * axes.piece, axes.length);
  int64_t at[2] = {0, 0};
  Acc acc = R::init();
  if (k < axes.results) {
    axes.kept.offsets(k, at);
    acc = add_strand<R>(axes, x, at[1], p * axes.piece + threadIdx.y, end, 8);
  }
  accs[threadIdx.y][threadIdx.x] = acc;
  __syncthreads();
  if (threadIdx.y != 0 || k >= axes.results) return;
  for (int i = 1; i < 8; ++i) acc = R::merge(acc, accs[i][threadIdx.x]);
  if (axes.pieces == 1)
    y[at[0]] = r.finish(acc);
  else
    partial[p * axes.results + k] = acc;
}

/// Merges the pieces of each result: a warp for each, since there may be thousands of pieces of one result.
template <class R>
__global__ void reduce_pieces_kernel(R r, ReduceAxes axes, View<const typename R::Acc> partial,
                                     View<typename R::Out> y) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t k = global_thread() / kWarp; k < axes.results; k += global_threads() / kWarp) {
    typename R::Acc acc = R::init();
    for (int64_t p = lane; p < axes.pieces; p += kWarp) acc = R::merge(acc, partial[p * axes.results + k]);
    acc = merge_warp<R>(acc);
    if (lane != 0) continue;
    int64_t at[2];
    axes.kept.offsets(k, at);
    y[at[0]] = r.finish(acc);
  }
}

/// y = x reduced over the axes of lengths `gone` with strides `gone_x`; axes `kept` stay. x and y are not empty.
template <class T, class R>
void reduce(const char* op, R r, const Tensor& x, const Tensor& y, const Shape& kept, const Shape& kept_y,
            const Shape& kept_x, const Shape& gone, const Shape& gone_x) {
  using Acc = typename R::Acc;
  using Out = typename R::Out;
  ReduceAxes axes{Layout<2>(kept, std::array<Shape, 2>{kept_y, kept_x}), Layout<1>(gone, std::array<Shape, 1>{gone_x}),
                  kept.numel(), gone.numel()};
  const bool columns = axes.results > 1 && (axes.kept.stride[1][axes.kept.dims - 1] == 1 || axes.length < kWarp);
  // About this many warps (rows) or blocks (columns) keep a GPU busy; a piece has at least 256 elements.
  const int64_t wanted = columns ? 132 * 8 : 132 * 32, units = columns ? (axes.results + 31) / 32 : axes.results;
  const int64_t most = std::min<int64_t>((axes.length + 255) / 256, 4096);
  axes.pieces = std::clamp<int64_t>(wanted / units, 1, std::max<int64_t>(most, 1));
  axes.piece = (axes.length + axes.pieces - 1) / axes.pieces;
  axes.pieces = (axes.length + axes.piece - 1) / axes.piece;
  const int64_t partials = axes.pieces > 1 ? axes.pieces * axes.results : 0;
  const View<Acc> partial(partials > 0 ? workspace<Acc>(y.device(), partials, 7) : nullptr, partials);
  if (columns)
    launch({y.device(), op, dim3(static_cast<unsigned>(units), static_cast<unsigned>(axes.pieces)), dim3(kWarp, 8)},
           reduce_columns_kernel<R, T>, r, axes, bits_view<const T>(x), bits_view<Out>(y), partial);
  else
    launch({y.device(), op, blocks_for(axes.results * axes.pieces * kWarp, kReduceThreads), kReduceThreads},
           reduce_rows_kernel<R, T>, r, axes, bits_view<const T>(x), bits_view<Out>(y), partial);
  if (partials > 0)
    launch({y.device(), op, blocks_for(axes.results * kWarp, kReduceThreads), kReduceThreads}, reduce_pieces_kernel<R>,
           r, axes, View<const Acc>(partial.p, partials), bits_view<Out>(y));
}

}  // namespace atlas::inline ATLAS_ABI::cuda
