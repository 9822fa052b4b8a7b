// Sums over rows and over columns of a matrix, as norms, softmax, losses and weight gradients need them. Every sum has
// an order that follows from the sizes alone: results are the same bits each time.
#pragma once

#include "atlas/cuda/vector.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

/// The threads that work on one row: a power of two of neighboring lanes of a warp, or (then size > 32) a whole block.
struct Team {
  int size;

  __device__ int rank() const { return static_cast<int>(threadIdx.x) & (size - 1); }
  /// Rows that a block works on at once, and which of them is this thread's.
  __device__ int rows() const { return static_cast<int>(blockDim.x) / size; }
  __device__ int row() const { return static_cast<int>(threadIdx.x) / size; }

  template <class T>
  __device__ T sum(T v) const {
    if (size > kWarp) return block_sum(v);
    for (int lanes = size / 2; lanes > 0; lanes /= 2) v += __shfl_xor_sync(kAllLanes, v, lanes);
    return v;
  }
  template <class T>
  __device__ T max(T v) const {
    if (size > kWarp) return block_max(v);
    for (int lanes = size / 2; lanes > 0; lanes /= 2) v = larger(v, __shfl_xor_sync(kAllLanes, v, lanes));
    return v;
  }

 private:
  template <class T>
  __device__ static T larger(T a, T b) {
    return b > a ? b : a;
  }
  template <class T>
  __device__ static T block_max(T v) {
    __shared__ T tops[kWarp];
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    v = warp_max(v);
    __syncthreads();  // a former call's maxima have been read
    if (lane == 0) tops[warp] = v;
    __syncthreads();
    return warp_max(tops[lane < static_cast<int>(blockDim.x) / kWarp ? lane : 0]);
  }
};

/// The smallest power of two >= n, at least `least`.
inline int power_of_two_from(int64_t n, int least) {
  int p = least;
  while (p < n) p *= 2;
  return p;
}

/// A matrix [rows, packs] laid over blocks, each of block.x columns of packs and block.y rows at a time; block (i, j)
/// has the rows from i rows_per_block on. Neighboring threads have neighboring packs.
struct ColumnTiles {
  static constexpr int kThreads = 256;
  dim3 grid, block;
  int64_t rows_per_block = 0;

  /// At most about `most_blocks` blocks, with no fewer than `least` rows for a thread.
  ColumnTiles(int64_t rows, int64_t packs, int64_t most_blocks, int64_t least) {
    const int64_t tiles = std::max<int64_t>(1, (packs + 127) / 128);
    const int64_t x = std::max<int64_t>(1, (packs + tiles - 1) / tiles), y = kThreads / x;
    const int64_t wanted = std::max<int64_t>(1, most_blocks / tiles);
    rows_per_block = std::max(least * y, (rows + wanted - 1) / wanted);
    block = dim3(static_cast<unsigned>(x), static_cast<unsigned>(y));
    grid = dim3(static_cast<unsigned>((rows + rows_per_block - 1) / rows_per_block), static_cast<unsigned>(tiles));
  }
};

/// In a block of ColumnTiles: adds up v over threadIdx.y, in its order, in the threads with threadIdx.y 0. `scratch`
/// holds N values for each thread of the block.
template <int N, class A>
__device__ void sum_tile_rows(A (&v)[N], A* scratch) {
  const int x = static_cast<int>(threadIdx.x), width = static_cast<int>(blockDim.x), threads = width * blockDim.y;
  const int me = static_cast<int>(threadIdx.y) * width + x;
  __syncthreads();  // former values have been read
#pragma unroll
  for (int j = 0; j < N; ++j) scratch[j * threads + me] = v[j];
  __syncthreads();
  if (threadIdx.y != 0) return;
  for (int r = 1; r < static_cast<int>(blockDim.y); ++r) {
#pragma unroll
    for (int j = 0; j < N; ++j) v[j] += scratch[j * threads + r * width + x];
  }
}

/// Calls out.put(c, Σ over p of partial[p][c]) for each c in [0, width). Sums are in float64, in the order of p within
/// each of the block.y strands.
template <class A, class Out>
__global__ void sum_partials_kernel(View<const A> partial, int64_t pieces, int64_t width, Out out) {
  __shared__ double strands[8][kWarp];
  const int64_t c = int64_t{blockIdx.x} * kWarp + threadIdx.x;
  double sum = 0;
  if (c < width) {
#pragma unroll 4
    for (int64_t p = threadIdx.y; p < pieces; p += 8) sum += static_cast<double>(partial[p * width + c]);
  }
  strands[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && c < width) {
    for (int s = 1; s < 8; ++s) sum += strands[s][threadIdx.x];
    out.put(c, sum);
  }
}
template <class A, class Out>
void sum_partials(Device device, const char* op, const A* partial, int64_t pieces, int64_t width, const Out& out) {
  const dim3 grid(static_cast<unsigned>((width + kWarp - 1) / kWarp));
  launch({device, op, grid, dim3(kWarp, 8)}, sum_partials_kernel<A, Out>, View<const A>(partial, pieces * width),
         pieces, width, out);
}

/// For sum_partials: column c is element c of `first` or, from first's length on, of `second`.
template <class T>
struct TwoVectors {
  Vector<T> first, second;
  int64_t length;
  __device__ void put(int64_t c, double sum) const {
    if (c < length)
      first.set(c, static_cast<Compute<T>>(sum));
    else
      second.set(c - length, static_cast<Compute<T>>(sum));
  }
};

}  // namespace atlas::inline ATLAS_ABI::cuda
