// GEMM on the CPU, after Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): op(B) is
// packed in panels, C is cut into blocks of rows whose part of A stays in the second-level cache, and a register tile
// of cpu/simd/gemm.inc walks over them. C += A B is done in slices of the depth k that keep a panel of B in cache.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/cpu/bf16.h"
#include "atlas/cpu/gemm_eigen-inl.h"
#include "atlas/cpu/gemm_panels.h"
#include "atlas/kernels/gemm.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// How one product is cut into tasks; a function of the sizes alone.
struct GemmTiles {
  Pieces m, n, k;

  GemmTiles(int64_t batch, int64_t rows, int64_t columns, int64_t depth, int64_t item)
      : m(rows, 4 * kGemmRows), n(columns, kGemmColumns, 32), k(depth, std::max<int64_t>(1, depth)) {
    const int64_t whole = batch * m.count * n.count;
    if (whole < 16 && depth < 2048 && rows > 64) m = Pieces(rows, kGemmRows);
    // Weight gradients have few tiles and a huge depth: cut the depth, too. The partial sums may take 16 MiB.
    const int64_t wanted = 32 / std::max<int64_t>(1, batch * m.count * n.count);
    const int64_t room = (int64_t{16} << 20) / std::max<int64_t>(1, batch * rows * columns * item);
    k = Pieces(depth, divide_up(depth, std::max<int64_t>(1, std::min({wanted, room, depth / 1024}))));
  }
  int64_t per_item() const { return m.count * n.count * k.count; }
};

}  // namespace detail

template <class T>
void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                 const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  if (k == 0) return detail::scale_rows(beta, m, n, c, ldc);  // sums of nothing: a and b are not touched
  if constexpr (std::is_same_v<T, float>)
    detail::own_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  else
    detail::eigen_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
void gemm_batched(std::span<const GemmOperands<T>> batch, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                  T alpha, int64_t lda, int64_t ldb, T beta, int64_t ldc, const GemmEpilogue<T>& epilogue) {
  const int64_t items = static_cast<int64_t>(batch.size());
  if (items == 0 || m == 0 || n == 0) return;
  if (k == 0) {
    for (const GemmOperands<T>& op : batch) detail::empty_product(m, n, beta, op.c, ldc, epilogue);
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    // Enough elements of C to share; otherwise slices of the depth are shared.
    const bool shared = items == 1 && k > 0 && m * n >= int64_t{1} << 16 && m > 64 && n > 64;
    if (shared)
      return detail::gemm_shared(trans_a, trans_b, m, n, k, alpha, batch[0].a, lda, batch[0].b, ldb, beta, batch[0].c,
                                 ldc, epilogue);
  }
  const detail::GemmTiles tiles(items, m, n, k, sizeof(T));
  // Slices of the depth after the first have their own copies of C, added in order at the end.
  const int64_t slices = tiles.k.count;
  T* const partial = slices > 1 ? workspace<T>((slices - 1) * items * m * n, detail::kSlotPartial) : nullptr;

  const auto tile = [&](int64_t index) {
    const int64_t slice = index % slices, column = index / slices % tiles.n.count;
    const int64_t row = index / (slices * tiles.n.count) % tiles.m.count, item = index / tiles.per_item();
    const int64_t m0 = row * tiles.m.length, n0 = column * tiles.n.length, k0 = slice * tiles.k.length;
    const int64_t mt = std::min(tiles.m.length, m - m0), nt = std::min(tiles.n.length, n - n0);
    const int64_t kt = std::min(tiles.k.length, k - k0);
    const GemmOperands<T>& op = batch[static_cast<size_t>(item)];
    const T* a = op.a + (trans_a ? k0 * lda + m0 : m0 * lda + k0);
    const T* b = op.b + (trans_b ? n0 * ldb + k0 : k0 * ldb + n0);
    const bool first = slice == 0;
    T* c = first ? op.c + m0 * ldc + n0 : partial + (((slice - 1) * items + item) * m + m0) * n + n0;
    gemm_serial<T>(trans_a, trans_b, mt, nt, kt, alpha, a, lda, b, ldb, first ? beta : T(0), c, first ? ldc : n);
    if (slices == 1) detail::finish_block(epilogue, op.c, ldc, mt, nt, m0, n0);
  };
  const int64_t flops = 2 * std::min(m, tiles.m.length) * std::min(n, tiles.n.length) * std::min(k, tiles.k.length);
  parallel_for(items * tiles.per_item(), std::max<int64_t>(1, 1'000'000 / std::max<int64_t>(1, flops)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) tile(i);
               });
  if (partial == nullptr) return;
  parallel_for(items * m, std::max<int64_t>(1, 16384 / n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const GemmOperands<T>& op = batch[static_cast<size_t>(r / m)];
      T* c = op.c + r % m * ldc;
      for (int64_t s = 1; s < slices; ++s) {
        const T* p = partial + ((s - 1) * items * m + r) * n;
        for (int64_t j = 0; j < n; ++j) c[j] += p[j];
      }
      detail::finish_block(epilogue, op.c, ldc, 1, n, r % m, 0);
    }
  });
}

ATLAS_INLINE Tensor packed_weight(const Tensor& weight) {
  if (weight.dtype() != float32 || weight.numel() == 0) return {};
  if (inference_precision() == bfloat16 && weight.strides()[1] == 1)
    return detail::bf16_packed(weight.data<float>(), weight.strides()[0], weight.size(0), weight.size(1));
  const detail::PackedPanels right(weight.size(0), weight.size(1));
  Tensor packed = empty({right.size()}, float32, Device{});
  const MatrixLayout layout = matrix_layout(weight);
  right.pack(!layout.transposed, weight.data<float>(), layout.ld, packed.data<float>());
  return packed;
}

namespace detail {

/// c = epilogue(a b). @param packed  of b, or undefined   @param epilogue  of T = the type of c, from finish(T())
template <class F>
void product(const Tensor& a, const Tensor& b, Tensor& c, const Tensor& packed, const F& finish) {
  const int batch_axes = c.dim() - 2;
  const int64_t m = c.shape()[batch_axes], n = c.shape()[batch_axes + 1], k = a.shape()[batch_axes + 1];
  if (c.numel() == 0) return;
  const int64_t items = c.numel() / (m * n);
  const MatrixLayout la = matrix_layout(a), lb = matrix_layout(b);
  visit_float(c, "matmul", [&](auto tag) {
    using T = decltype(tag);
    const GemmEpilogue<T> epilogue = finish(tag);
    if constexpr (std::is_same_v<T, float>) {
      if (packed.defined() && packed.dtype() == bfloat16 && !la.transposed)
        return bf16_product(a.data<T>(), la.ld, packed, m, n, k, c.data<T>(), n, epilogue);
      if (packed.defined() && packed.dtype() == float32)
        return gemm_shared(la.transposed, lb.transposed, m, n, k, T(1), a.data<T>(), la.ld, b.data<T>(), lb.ld, T(0),
                           c.data<T>(), n, epilogue, packed.data<float>());
    }
    std::vector<GemmOperands<T>> batch(static_cast<size_t>(items));
    for (int64_t i = 0; i < items; ++i) {
      int64_t rest = i, at = 0, bt = 0;
      for (int axis = batch_axes - 1; axis >= 0; --axis) {
        const int64_t index = rest % c.shape()[axis];
        rest /= c.shape()[axis];
        at += index * a.strides()[axis];
        bt += index * b.strides()[axis];
      }
      if (k == 0) at = bt = 0;  // no elements, and maybe no memory to point into
      batch[static_cast<size_t>(i)] = {a.data<T>() + at, b.data<T>() + bt, c.data<T>() + i * m * n};
    }
    gemm_batched<T>(batch, la.transposed, lb.transposed, m, n, k, T(1), la.ld, lb.ld, T(0), n, epilogue);
  });
}

template <class T>
T* data_or_null(const Tensor& t) {
  return t.defined() ? const_cast<Tensor&>(t).data<T>() : nullptr;
}

}  // namespace detail

ATLAS_INLINE void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& c, const FusedProduct& fused) {
  detail::product(a, b, c, fused.packed, [&](auto tag) {
    using T = decltype(tag);
    return GemmEpilogue<T>{.bias = detail::data_or_null<T>(bias),
                           .activation = fused.activation,
                           .pre_activation = detail::data_or_null<T>(fused.pre_activation),
                           .residual = detail::data_or_null<T>(fused.residual),
                           .scale = detail::data_or_null<T>(fused.scale)};
  });
}

ATLAS_INLINE void matmul_times_derivative(const Tensor& a, const Tensor& b, Activation activation, const Tensor& at,
                                          Tensor& c) {
  detail::product(a, b, c, {}, [&](auto tag) {
    using T = decltype(tag);
    return GemmEpilogue<T>{.activation = activation, .derivative_at = at.data<T>()};
  });
}

ATLAS_INLINE void column_sums(const Tensor& x, Tensor& out) {
  const int64_t rows = x.shape()[0], columns = x.shape()[1], step = x.strides()[0];
  if (columns == 0) return;
  visit_float(x, "column_sums", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    // At most 64 blocks of rows, each with its own sums: a fixed cut, whatever the number of threads.
    const int64_t block = std::max<int64_t>({1, (rows + 63) / 64, 16384 / columns});
    const int64_t blocks = (rows + block - 1) / block;
    T* sums = workspace<T>(std::max<int64_t>(blocks, 1) * columns, 7);
    parallel_for(rows, block, [&](int64_t begin, int64_t end) {
      T* s = sums + begin / block * columns;
      std::fill(s, s + columns, T(0));
      for (int64_t r = begin; r < end; ++r) {
        const T* row = from + r * step;
        for (int64_t j = 0; j < columns; ++j) s[j] += row[j];
      }
    });
    T* y = out.data<T>();
    std::fill(y, y + columns, T(0));
    for (int64_t i = 0; i < blocks; ++i)
      for (int64_t j = 0; j < columns; ++j) y[j] += sums[i * columns + j];
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
