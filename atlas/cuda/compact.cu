// CUDA kernels of kernels/compact.h.
#include "atlas/cuda/elements.cuh"
#include "atlas/kernels/compact.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kPiece = 16 * kThreads;  // elements of a block

/// How many elements of each block's piece are true.
__global__ void count_pieces_kernel(int64_t n, View<const uint8_t> mask, View<int64_t> counts) {
  const int64_t begin = blockIdx.x * kPiece, end = min(begin + kPiece, n);
  int64_t count = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) count += mask[i];
  count = block_sum(count);
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

/// Counts become the sums of those before; one warp.
__global__ void begin_pieces_kernel(int64_t pieces, View<int64_t> counts) {
  const int lane = threadIdx.x;
  int64_t before = 0;
  for (int64_t p = 0; p < pieces; p += kWarp) {
    const int64_t count = p + lane < pieces ? counts[p + lane] : 0;
    int64_t sum = count;
    for (int lanes = 1; lanes < kWarp; lanes *= 2) {
      const int64_t left = __shfl_up_sync(kAllLanes, sum, lanes);
      if (lane >= lanes) sum += left;
    }
    if (p + lane < pieces) counts[p + lane] = before + sum - count;
    before += __shfl_sync(kAllLanes, sum, kWarp - 1);
  }
}

__global__ void true_positions_kernel(int64_t n, View<const uint8_t> mask, View<const int64_t> begins,
                                      View<int64_t> index) {
  __shared__ int totals[kThreads / kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int64_t at = begins[blockIdx.x];
  for (int64_t strip = blockIdx.x * kPiece; strip < min((blockIdx.x + 1) * kPiece, n); strip += kThreads) {
    const int64_t i = strip + threadIdx.x;
    const int found = i < n && mask[i] != 0 ? 1 : 0;
    int rank = found;  // of the lanes up to this one
    for (int lanes = 1; lanes < kWarp; lanes *= 2) {
      const int left = __shfl_up_sync(kAllLanes, rank, lanes);
      if (lane >= lanes) rank += left;
    }
    __syncthreads();  // the last strip's totals have been read
    if (lane == kWarp - 1) totals[warp] = rank;
    __syncthreads();
    int64_t before = at;
    for (int w = 0; w < kThreads / kWarp; ++w) {
      if (w < warp) before += totals[w];
      at += totals[w];
    }
    if (found != 0) index[before + rank - 1] = i;
  }
}

struct Lengths {
  int64_t of[kMaxDims];
};
__global__ void unravel_kernel(int64_t n, int axes, Lengths lengths, View<const int64_t> position,
                               View<int64_t> index) {
  for (int64_t k = global_thread(); k < n; k += global_threads()) {
    int64_t rest = position[k];
    for (int axis = axes - 1; axis >= 0; --axis) {
      const int64_t q = rest / lengths.of[axis];
      index[k * axes + axis] = rest - q * lengths.of[axis];
      rest = q;
    }
  }
}

template <class T>
__global__ void put_kernel(int64_t n, View<const T> x, View<const int64_t> index, View<T> y) {
  for (int64_t k = global_thread(); k < n; k += global_threads()) y[index[k]] = x[k];
}

}  // namespace

void true_positions(const Tensor& mask, Tensor& index) {
  const int64_t n = mask.numel(), pieces = (n + kPiece - 1) / kPiece;
  if (index.numel() == 0) return;
  const View<int64_t> counts(workspace<int64_t>(mask.device(), pieces), pieces);
  const dim3 grid(static_cast<unsigned>(pieces));
  launch({mask.device(), "nonzero", grid, kThreads}, count_pieces_kernel, n, bits_view<const uint8_t>(mask), counts);
  launch({mask.device(), "nonzero", dim3(1), kWarp}, begin_pieces_kernel, pieces, counts);
  launch({mask.device(), "nonzero", grid, kThreads}, true_positions_kernel, n, bits_view<const uint8_t>(mask),
         View<const int64_t>(counts.p, pieces), view<int64_t>(index));
}

void unravel(const Tensor& position, const Shape& shape, Tensor& index) {
  if (index.numel() == 0) return;
  Lengths lengths{};
  for (int axis = 0; axis < shape.size(); ++axis) lengths.of[axis] = shape[axis];
  launch({index.device(), "nonzero", blocks_for(position.numel(), 256), 256, 0, true}, unravel_kernel, position.numel(),
         shape.size(), lengths, view<const int64_t>(position), view<int64_t>(index));
}

void put(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = x.numel();
  if (n == 0) return;
  visit_bits(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch({y.device(), "put", blocks_for(n, 256), 256, 0, true}, put_kernel<T>, n, bits_view<const T>(x),
           view<const int64_t>(index), bits_view<T>(y));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
