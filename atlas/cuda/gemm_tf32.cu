// Large products of float32 by three products of TF32 (multiply.cuh), half as long again in a unit of time as cuBLAS'
// on CUDA cores: a product is a convolution of one row of m pixels with one tap, and a product with a transposed left
// side is such a convolution's weight gradient.
#include "atlas/cuda/conv.cuh"
#include "atlas/cuda/gemm.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

inline constexpr int kTile = 32, kLines = 8;

/// to[n][k] = from[k][n], whose rows are `step` apart.
__global__ void __launch_bounds__(kTile* kLines)
    transpose_kernel(const View<const float> from, const View<float> to, int k, int n, int64_t step) {
  __shared__ float tile[kTile][kTile + 1];
  const int column = static_cast<int>(threadIdx.x) % kTile, line = static_cast<int>(threadIdx.x) / kTile;
  const int k0 = static_cast<int>(blockIdx.y) * kTile, n0 = static_cast<int>(blockIdx.x) * kTile;
  for (int r = line; r < kTile; r += kLines)
    if (k0 + r < k && n0 + column < n) tile[r][column] = from[(k0 + r) * step + n0 + column];
  __syncthreads();
  for (int r = line; r < kTile; r += kLines)
    if (n0 + r < n && k0 + column < k) to[int64_t{n0 + r} * k + k0 + column] = tile[column][r];
}

/// `pixels` rows of `count` numbers, `step` apart.
Gather rows_gather(int64_t pixels, int64_t count, int64_t step) {
  const int n = static_cast<int>(pixels);
  return {{1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1},
          {1, 1, 0, 1, 0, 1, n, n, 0, 1, n},
          1,
          static_cast<int>(step),
          static_cast<int>(count)};
}

View<const float> rows_view(const void* p, int64_t rows, int64_t columns, int64_t step) {
  return {static_cast<const float*>(p), (rows - 1) * step + columns};
}

}  // namespace

bool gemm_tf32(const Gemm& g) {
  constexpr int64_t kMost = int64_t{1} << 30;  // places in rows are counted in 32 bits
  if (g.dtype != DType::float32 || tf32() || !tf32x3() || g.batch() != 1) return false;
  if (g.m >= kMost || g.n >= kMost || g.k >= kMost || g.lda >= kMost || g.ldb >= kMost) return false;
  for (const void* p : {g.a, g.b, static_cast<const void*>(g.c), g.bias, g.residual})
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0) return false;
  if ((g.trans_a ? g.m : g.k) % 4 != 0 || g.n % 4 != 0 || g.lda % 4 != 0 || g.ldb % 4 != 0) return false;
  if (g.trans_a) {
    // Small ones are left to cuBLAS, and what no model asks for.
    if (g.trans_b || g.lda != g.m || g.m < 64 || g.n < 64 || g.k < 2048) return false;
    if (g.bias != nullptr || g.residual != nullptr || g.activation != Activation::none) return false;
    tf32_sum_of_pixels(g.device, g.op, rows_view(g.a, g.k, g.m, g.lda), rows_view(g.b, g.k, g.n, g.ldb),
                       rows_gather(g.k, g.n, g.ldb), static_cast<int>(g.m), static_cast<float*>(g.c));
    return true;
  }
  // Blocks do not share a sum: enough of them to fill a large card, or cuBLAS.
  constexpr int64_t kEnough = 200;
  if (g.n < 64 || (g.m + 127) / 128 * ((g.n + 127) / 128) < kEnough || (g.trans_b && g.ldb != g.k)) return false;
  View<const float> filters = rows_view(g.b, g.n, g.k, g.k);
  if (!g.trans_b) {
    float* const turned = workspace<float>(g.device, g.n * g.k);
    const auto tiles = [](int64_t n) { return static_cast<unsigned>((n + kTile - 1) / kTile); };
    launch({g.device, g.op, dim3(tiles(g.n), tiles(g.k)), dim3(kTile * kLines)}, transpose_kernel,
           rows_view(g.b, g.k, g.n, g.ldb), View<float>(turned, g.n * g.k), static_cast<int>(g.k),
           static_cast<int>(g.n), g.ldb);
    filters = {turned, g.n * g.k};
  }
  const Epilogue<float> finish{{static_cast<const float*>(g.bias), g.bias ? g.n : 0},
                               {static_cast<const float*>(g.residual), g.residual ? g.m * g.n : 0},
                               g.activation};
  tf32_product(g.device, g.op, rows_view(g.a, g.m, g.k, g.lda), filters,
               View<float>(static_cast<float*>(g.c), g.m * g.n), finish, rows_gather(g.m, g.k, g.lda),
               static_cast<int>(g.n));
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
