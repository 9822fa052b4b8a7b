// The plain product of this room: C[i, j] = sum over k of A[i, k] B[k, j] by ordinary arithmetic, in any type. What A
// and B are, say small structs that know how to load one element; so this one kernel is matrix product and convolution
// with its gradients. It is the reference of the tensor-core kernels and does what they and cuBLASLt refuse.
//
// An operand has: select(problem), what belongs to the problem; outer(problem, i), what belongs to a row of A or a
// column of B; inner(k), what belongs to a position along the sum; load(outer, inner). contiguous_sum() says that
// neighbours along k are neighbours in memory, so that neighbouring threads load them.
#pragma once

#include "atlas/cuda/launch.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

/// Sizes of a product; the sum over k is cut into slices that are summed elsewhere.
struct ProductSize {
  int64_t m, n, k;
  int64_t problems = 1, slices = 1;
  int64_t slice() const { return (k + slices - 1) / slices; }
};

/// Where a product's blocks stand.
struct ProductGrid {
  int64_t m, n, k, slice;
  unsigned slices, columns, rows;  // slices, and tiles along n and m
};

inline constexpr int kProductThreads = 256;

/// Blocks of kTile x kTile results; each thread has (kTile / 16)^2 of them in registers.
template <class T, int kTile, class A, class B, class S>
__global__ void __launch_bounds__(kProductThreads)
    product_kernel(const A a, const B b, const S store_to, const ProductGrid g) {
  using C = Compute<T>;
  constexpr int kDepth = kTile == 128 ? 8 : 16, kMicro = kTile / 16, kLoads = kTile * kDepth / kProductThreads;
  __shared__ C as[kDepth][kTile + 4];
  __shared__ C bs[kDepth][kTile + 4];

  unsigned rest = blockIdx.x;
  const int64_t j0 = int64_t{rest % g.columns} * kTile;
  rest /= g.columns;
  const int64_t i0 = int64_t{rest % g.rows} * kTile;
  rest /= g.rows;
  const int64_t slice = rest % g.slices, problem = rest / g.slices;
  const int64_t begin = slice * g.slice, end = begin + g.slice < g.k ? begin + g.slice : g.k;
  const auto pa = a.select(problem);
  const auto pb = b.select(problem);
  const bool inner_a = a.contiguous_sum(), inner_b = b.contiguous_sum();

  const int tid = static_cast<int>(threadIdx.x), tx = tid % 16, ty = tid / 16;
  // The u-th element that this thread loads of a tile: its place across (0..kTile) and along the sum (0..kDepth).
  const auto across = [tid](bool inner, int u) {
    return inner ? tid / kDepth + u * (kProductThreads / kDepth) : tid % kTile;
  };
  const auto along = [tid](bool inner, int u) {
    return inner ? tid % kDepth : tid / kTile + u * (kProductThreads / kTile);
  };
  C next_a[kLoads], next_b[kLoads];
  const auto fetch = [&](int64_t k0) {
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int64_t i = i0 + across(inner_a, u), ka = k0 + along(inner_a, u);
      const int64_t j = j0 + across(inner_b, u), kb = k0 + along(inner_b, u);
      next_a[u] = i < g.m && ka < end ? a.load(a.outer(pa, i), a.inner(ka)) : C(0);
      next_b[u] = j < g.n && kb < end ? b.load(b.outer(pb, j), b.inner(kb)) : C(0);
    }
  };

  C sums[kMicro][kMicro] = {};
  if (begin < end) fetch(begin);
  for (int64_t k0 = begin; k0 < end; k0 += kDepth) {
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      as[along(inner_a, u)][across(inner_a, u)] = next_a[u];
      bs[along(inner_b, u)][across(inner_b, u)] = next_b[u];
    }
    __syncthreads();
    if (k0 + kDepth < end) fetch(k0 + kDepth);  // on its way while this tile is multiplied
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      C left[kMicro], right[kMicro];
#pragma unroll
      for (int u = 0; u < kMicro; ++u) {  // groups of four neighbours, 64 apart
        left[u] = as[k][ty * 4 + u / 4 * 64 + u % 4];
        right[u] = bs[k][tx * 4 + u / 4 * 64 + u % 4];
      }
#pragma unroll
      for (int u = 0; u < kMicro; ++u)
#pragma unroll
        for (int v = 0; v < kMicro; ++v) sums[u][v] += left[u] * right[v];
    }
    __syncthreads();
  }

#pragma unroll
  for (int u = 0; u < kMicro; ++u) {
    const int64_t i = i0 + ty * 4 + u / 4 * 64 + u % 4;
    if (i >= g.m) continue;
    const auto row = store_to.row(problem, slice, i);
#pragma unroll
    for (int v = 0; v < kMicro; ++v) {
      const int64_t j = j0 + tx * 4 + v / 4 * 64 + v % 4;
      if (j < g.n) store_to.put(row, j, sums[u][v]);
    }
  }
}

/// Runs the plain product on the stream of `device`; with kLarge there are large tiles for it, too.
template <class T, bool kLarge = false, class A, class B, class S>
void plain_product(Device device, const char* op, const ProductSize& size, const A& a, const B& b, const S& store_to) {
  if (size.m == 0 || size.n == 0 || size.problems == 0) return;
  const auto run = [&](auto kernel, int64_t tile) {
    const int64_t columns = (size.n + tile - 1) / tile, rows = (size.m + tile - 1) / tile;
    const int64_t blocks = columns * rows * size.slices * size.problems;
    check(blocks < (int64_t{1} << 31), op, "{} x {} results are too many for one kernel", size.m, size.n);
    const ProductGrid grid{size.m,
                           size.n,
                           size.k,
                           std::max<int64_t>(1, size.slice()),
                           static_cast<unsigned>(size.slices),
                           static_cast<unsigned>(columns),
                           static_cast<unsigned>(rows)};
    launch({device, op, dim3(static_cast<unsigned>(blocks)), dim3(kProductThreads)}, kernel, a, b, store_to, grid);
  };
  // Large tiles read less; they pay when there are enough of them and few of their results are outside.
  const int64_t large = ((size.m + 127) / 128) * ((size.n + 127) / 128) * size.slices * size.problems;
  const auto wasted = [](int64_t n) { return n % 128 != 0 && n % 128 <= 64; };
  if constexpr (kLarge)
    if (large >= 128 && !wasted(size.n) && !wasted(size.m)) return run(product_kernel<T, 128, A, B, S>, 128);
  run(product_kernel<T, 64, A, B, S>, 64);
}

/// An operand that lies in memory as a matrix: element (outer i, inner k) at i outer_step + k inner_step, and a batch
/// of them over some axes.
template <class T>
struct MatrixOperand {
  View<const T> elements;
  int64_t outer_step, inner_step;
  int axes = 0;
  int64_t size[kMaxDims] = {}, step[kMaxDims] = {};

  __device__ bool contiguous_sum() const { return inner_step == 1; }
  __device__ int64_t select(int64_t problem) const {
    int64_t begin = 0;
    for (int axis = axes - 1; axis >= 0; --axis) {
      begin += problem % size[axis] * step[axis];
      problem /= size[axis];
    }
    return begin;
  }
  __device__ int64_t outer(int64_t begin, int64_t i) const { return begin + i * outer_step; }
  __device__ int64_t inner(int64_t k) const { return k * inner_step; }
  __device__ Compute<T> load(int64_t i, int64_t k) const { return cuda::load(elements[i + k]); }
};

/// Sums of slices, kept apart in the type they are computed in: [slices][problems][m][n].
template <class C>
struct StorePartial {
  View<C> to;
  int64_t problems, m, n;
  __device__ int64_t row(int64_t problem, int64_t slice, int64_t i) const {
    return ((slice * problems + problem) * m + i) * n;
  }
  __device__ void put(int64_t row, int64_t j, C v) const { to[row + j] = v; }
};

/// out[i] = the sum over the slices of partial[slice, i], in order. Defined in gemm.cu for float32, float64, bfloat16.
template <class T>
void sum_slices(Device device, const char* op, const Compute<T>* partial, int64_t slices, T* out, int64_t count);
/// The same into a contiguous tensor: float32 or bfloat16 from float, float64 from double.
template <class C>
void sum_slices(Device device, const char* op, const C* partial, int64_t slices, Tensor& out);

}  // namespace atlas::inline ATLAS_ABI::cuda
