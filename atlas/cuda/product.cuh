// The plain product of this room: C[i, j] = sum over k of A[i, k] B[k, j] by ordinary arithmetic, in any type. What A
// and B are, say small structs that know how to load one element; so this one kernel is matrix product and convolution
// with its gradients. It is the reference of the tensor-core kernels and does what they and cuBLASLt refuse.
//
// An operand has: select(problem), what belongs to the problem; outer(problem, i), what belongs to a row of A or a
// column of B (an Outer); inner(k), what belongs to a position along the sum; at<n>(outer, inner), where n neighbors
// are, or null for zeros. contiguous_sum() says that neighbors along k are neighbors in memory (otherwise those
// across are), so that neighboring threads load them, or one thread four of them at once.
//
// A block has 128 x 128, 128 x 64 or 64 x 64 results, a thread 8 x 8, 8 x 4 or 4 x 4 of them in registers. Per position
// of the sum a thread reads 16, 12 or 8 numbers from shared memory, four at once, for 64, 32 or 16 products: 128 x 128
// float32 needs 4 reads of 16 bytes for 64 products, which take four times as long. What belongs to rows and columns is
// worked out once, and what belongs to a position once per step. Two stages: the next one is on its way through
// registers while this one is multiplied, and one barrier parts them.
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

/// Neighbors in memory, 16 bytes at once.
template <class C, int kCount>
struct alignas(kCount * sizeof(C) < 16 ? kCount * sizeof(C) : 16) Piece {
  C v[kCount];
};

/// The share of a thread in bringing tiles of an operand, kTile across and kDepth along the sum, to shared memory:
/// pieces of kPiece neighbors along the sum, or across where those are the neighbors in memory.
template <class C, class Operand, int kTile, int kDepth, int kPiece>
struct TileLoader {
  static constexpr int kLoads = kTile * kDepth / kProductThreads / kPiece, kRow = kTile + 4;
  static constexpr int kPiecesAlong = kDepth / kPiece, kPiecesAcross = kTile / kPiece;
  const Operand& from;
  const bool contiguous;                   // along the sum
  typename Operand::Outer outers[kLoads];  // all alike where neighbors across are neighbors in memory
  unsigned inside = 0;
  Piece<C, kPiece> next[kLoads];

  // Where the u-th piece that this thread loads of a tile begins, across (0..kTile) and along the sum (0..kDepth).
  __device__ int across(int u) const {
    const int tid = static_cast<int>(threadIdx.x);
    return contiguous ? tid / kPiecesAlong + u * (kProductThreads / kPiecesAlong) : tid % kPiecesAcross * kPiece;
  }
  __device__ int along(int u) const {
    const int tid = static_cast<int>(threadIdx.x);
    return contiguous ? tid % kPiecesAlong * kPiece : tid / kPiecesAcross + u * (kProductThreads / kPiecesAcross);
  }
  __device__ TileLoader(const Operand& operand, int64_t problem, int64_t first, int64_t count)
      : from(operand), contiguous(operand.contiguous_sum()) {
    const auto selected = from.select(problem);
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int64_t i = first + across(u);
      if (i < count) inside |= 1u << u;
      outers[u] = from.outer(selected, i < count ? i : 0);
    }
  }
  /// On its way from memory: the tile whose sum begins at k0.
  __device__ void fetch(int64_t k0, int64_t end) {
    if (contiguous) {
      const int64_t k = k0 + along(0);
      const auto at = from.inner(k < end ? k : 0);
#pragma unroll
      for (int u = 0; u < kLoads; ++u) load(next[u], k < end && (inside >> u & 1u) != 0, outers[u], at);
    } else {
#pragma unroll
      for (int u = 0; u < kLoads; ++u) {
        const int64_t k = k0 + along(u);
        const bool here = k < end && inside != 0;
        load(next[u], here, outers[0], from.inner(here ? k : 0));
      }
    }
  }
  __device__ void put(C (*to)[kRow]) const {
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      if (contiguous) {
#pragma unroll
        for (int i = 0; i < kPiece; ++i) to[along(u) + i][across(u)] = next[u].v[i];
      } else {
        *reinterpret_cast<Piece<C, kPiece>*>(&to[along(u)][across(u)]) = next[u];
      }
    }
  }

 private:
  template <class Inner>
  __device__ void load(Piece<C, kPiece>& to, bool here, const typename Operand::Outer& outer, const Inner& inner) {
    const auto* p = here ? from.template at<kPiece>(outer, inner) : nullptr;
    if constexpr (kPiece == 1)
      to.v[0] = p != nullptr ? cuda::load(*p) : C(0);
    else
      to = p != nullptr ? *reinterpret_cast<const Piece<C, kPiece>*>(p) : Piece<C, kPiece>{};
  }
};

/// Four neighbors from shared memory, 16 bytes at once.
template <class C>
__device__ void read_four(C* to, const C* from) {
  constexpr int kPiece = 16 / sizeof(C);
#pragma unroll
  for (int i = 0; i < 4; i += kPiece) {
    const auto piece = *reinterpret_cast<const Piece<C, kPiece>*>(from + i);
#pragma unroll
    for (int u = 0; u < kPiece; ++u) to[i + u] = piece.v[u];
  }
}

/// Blocks of kRows x kColumns results. kPiece: elements of the operands that are loaded at once.
template <class T, int kRows, int kColumns, int kPiece, class A, class B, class S>
__global__ void __launch_bounds__(kProductThreads, sizeof(T) == 4 ? 2 : 1)
    product_kernel(const A a, const B b, const S store_to, const ProductGrid g) {
  using C = Compute<T>;
  constexpr int kDepth = 16, kDown = kRows / 16, kWide = kColumns / 16;
  alignas(16) __shared__ C as[2][kDepth][kRows + 4];
  alignas(16) __shared__ C bs[2][kDepth][kColumns + 4];

  unsigned rest = blockIdx.x;
  const int64_t j0 = int64_t{rest % g.columns} * kColumns;
  rest /= g.columns;
  const int64_t i0 = int64_t{rest % g.rows} * kRows;
  rest /= g.rows;
  const int64_t slice = rest % g.slices, problem = rest / g.slices;
  const int64_t begin = slice * g.slice, end = begin + g.slice < g.k ? begin + g.slice : g.k;
  const int tid = static_cast<int>(threadIdx.x), tx = tid % 16, ty = tid / 16;

  TileLoader<C, A, kRows, kDepth, kPiece> left(a, problem, i0, g.m);
  TileLoader<C, B, kColumns, kDepth, kPiece> right(b, problem, j0, g.n);
  C sums[kDown][kWide] = {};
  if (begin < end) {
    left.fetch(begin, end);
    right.fetch(begin, end);
    left.put(as[0]);
    right.put(bs[0]);
  }
  __syncthreads();
  int stage = 0;
  for (int64_t k0 = begin; k0 < end; k0 += kDepth, stage ^= 1) {
    const bool more = k0 + kDepth < end;
    if (more) {
      left.fetch(k0 + kDepth, end);
      right.fetch(k0 + kDepth, end);
    }
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      C down[kDown], wide[kWide];
#pragma unroll
      for (int u = 0; u < kDown; u += 4) read_four(down + u, &as[stage][k][ty * 4 + u * 16]);  // fours, 64 apart
#pragma unroll
      for (int v = 0; v < kWide; v += 4) read_four(wide + v, &bs[stage][k][tx * 4 + v * 16]);
#pragma unroll
      for (int u = 0; u < kDown; ++u)
#pragma unroll
        for (int v = 0; v < kWide; ++v) sums[u][v] += down[u] * wide[v];
    }
    if (more) {
      left.put(as[stage ^ 1]);
      right.put(bs[stage ^ 1]);
    }
    __syncthreads();
  }

#pragma unroll
  for (int u = 0; u < kDown; ++u) {
    const int64_t i = i0 + ty * 4 + u / 4 * 64 + u % 4;
    if (i >= g.m) continue;
    const auto row = store_to.row(problem, slice, i);
#pragma unroll
    for (int v = 0; v < kWide; ++v) {
      const int64_t j = j0 + tx * 4 + v / 4 * 64 + v % 4;
      if (j < g.n) store_to.put(row, j, sums[u][v]);
    }
  }
}

/// Runs the plain product on the stream of `device`. With kFours there are large tiles for it, too, which are taken
/// when `fours`: m, n, (what lies in memory of) k, and every distance in memory are multiples of four, addresses of 16
/// bytes.
template <class T, bool kFours = false, class A, class B, class S>
void plain_product(Device device, const char* op, const ProductSize& size, const A& a, const B& b, const S& store_to,
                   bool fours = false) {
  if (size.m == 0 || size.n == 0 || size.problems == 0) return;
  struct Tiles {
    int64_t rows, columns, blocks;
    double cost;  // of a result in such a tile: large ones read less
  };
  const auto tiles = [&](int64_t rows, int64_t columns, double cost) {
    Tiles t{(size.m + rows - 1) / rows, (size.n + columns - 1) / columns, 0, 0};
    t.blocks = t.rows * t.columns * size.slices * size.problems;
    // Two blocks on each of the multiprocessors of a large card.
    t.cost = static_cast<double>((t.blocks + 263) / 264 * rows * columns) * cost;
    return t;
  };
  const auto run = [&](auto kernel, const Tiles& t) {
    check(t.blocks < (int64_t{1} << 31), op, "{} x {} results are too many for one kernel", size.m, size.n);
    const ProductGrid grid{size.m,
                           size.n,
                           size.k,
                           std::max<int64_t>(1, size.slice()),
                           static_cast<unsigned>(size.slices),
                           static_cast<unsigned>(t.columns),
                           static_cast<unsigned>(t.rows)};
    launch({device, op, dim3(static_cast<unsigned>(t.blocks)), dim3(kProductThreads)}, kernel, a, b, store_to, grid);
  };
  const Tiles small = tiles(64, 64, 1.5);
  if constexpr (kFours) {
    const Tiles large = tiles(128, 128, 1.0), high = tiles(128, 64, 1.15);
    if (fours && large.cost <= high.cost && large.cost <= small.cost)
      return run(product_kernel<T, 128, 128, 4, A, B, S>, large);
    if (fours && high.cost <= small.cost) return run(product_kernel<T, 128, 64, 4, A, B, S>, high);
    if (fours) return run(product_kernel<T, 64, 64, 4, A, B, S>, small);
  }
  run(product_kernel<T, 64, 64, 1, A, B, S>, small);
}

/// An operand that lies in memory as a matrix: element (outer i, inner k) at i outer_step + k inner_step, and a batch
/// of them over some axes.
template <class T>
struct MatrixOperand {
  View<const T> elements;
  int64_t outer_step, inner_step;
  int axes = 0;
  int64_t size[kMaxDims] = {}, step[kMaxDims] = {};

  using Outer = int64_t;
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
  template <int kCount>
  __device__ const T* at(int64_t i, int64_t k) const {
    return elements.at(i + k, kCount);
  }
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
