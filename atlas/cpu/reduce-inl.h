// CPU bodies of kernels/reduce.h. Work is cut into pieces that depend on the shape alone, and partial results are
// combined in the order of the pieces: the result does not depend on the number of threads. float32 is summed in
// float64.
#pragma once

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/kernels/reduce.h"
#include "atlas/kernels/reducers.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

inline constexpr int64_t kReducePiece = 16384;  // elements of a piece of a row
inline constexpr int64_t kReduceTile = 256;  // columns whose accumulators fit the first cache and the registers' reach

/// Reduces n neighbors, in 16 interleaved lanes that vectorize.
template <class R, class T>
typename R::Acc reduce_run(const T* x, int64_t n) {
  constexpr int kLanes = 16;
  typename R::Acc total = R::init();
  int64_t i = 0;
  if (n >= kLanes) {
    typename R::Acc lane[kLanes];
    for (int k = 0; k < kLanes; ++k) lane[k] = R::init();
    for (; i + kLanes <= n; i += kLanes)
      for (int k = 0; k < kLanes; ++k) lane[k] = R::add(lane[k], x[i + k]);
    for (int w = kLanes / 2; w > 0; w /= 2)
      for (int k = 0; k < w; ++k) lane[k] = R::merge(lane[k], lane[k + w]);
    total = lane[0];
  }
  for (; i < n; ++i) total = R::add(total, x[i]);
  return total;
}

/// x [outer, n] -> y [outer].
template <class R, class T>
void reduce_rows(R r, const T* x, int64_t outer, int64_t n, typename R::Out* y) {
  const int64_t pieces = (n + kReducePiece - 1) / kReducePiece;
  if (pieces == 1) {
    parallel_for(outer, kReducePiece / n, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) y[o] = r.finish(reduce_run<R>(x + o * n, n));
    });
    return;
  }
  auto* partial = workspace<typename R::Acc>(outer * pieces, 7);
  parallel_for(outer * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t from = t % pieces * kReducePiece;
      partial[t] = reduce_run<R>(x + t / pieces * n + from, std::min(kReducePiece, n - from));
    }
  });
  for (int64_t o = 0; o < outer; ++o) {
    auto total = R::init();
    for (int64_t p = 0; p < pieces; ++p) total = R::merge(total, partial[o * pieces + p]);
    y[o] = r.finish(total);
  }
}

/// Reduces rows x[0], x[stride], ... of `width` columns into acc.
template <class R, class T>
void reduce_tile(const T* __restrict x, int64_t rows, int64_t stride, int64_t width, typename R::Acc* __restrict acc) {
  for (int64_t c = 0; c < width; ++c) acc[c] = R::init();
  int64_t k = 0;
  for (; k + 4 <= rows; k += 4, x += 4 * stride)
    for (int64_t c = 0; c < width; ++c)
      acc[c] = R::add(R::add(R::add(R::add(acc[c], x[c]), x[c + stride]), x[c + 2 * stride]), x[c + 3 * stride]);
  for (; k < rows; ++k, x += stride)
    for (int64_t c = 0; c < width; ++c) acc[c] = R::add(acc[c], x[c]);
}

/// x [outer, n, inner] -> y [outer, inner].
template <class R, class T>
void reduce_columns(R r, const T* x, int64_t outer, int64_t n, int64_t inner, typename R::Out* y) {
  const int64_t tile = std::min(inner, kReduceTile), tiles = (inner + tile - 1) / tile;
  const int64_t piece = std::min(n, std::max<int64_t>(64, 2 * kReducePiece / tile)), pieces = (n + piece - 1) / piece;
  auto* partial = pieces > 1 ? workspace<typename R::Acc>(outer * pieces * inner, 7) : nullptr;
  parallel_for(outer * pieces * tiles, kReducePiece / (piece * tile), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t op = t / tiles, o = op / pieces, k = op % pieces * piece, c = t % tiles * tile;
      const int64_t width = std::min(tile, inner - c);
      typename R::Acc acc[kReduceTile];
      reduce_tile<R>(x + (o * n + k) * inner + c, std::min(piece, n - k), inner, width, acc);
      if (partial != nullptr)
        std::copy(acc, acc + width, partial + op * inner + c);
      else
        for (int64_t i = 0; i < width; ++i) y[o * inner + c + i] = r.finish(acc[i]);
    }
  });
  if (partial == nullptr) return;
  parallel_for(outer * tiles, std::max<int64_t>(1, kReducePiece / (pieces * tile)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t o = t / tiles, c = t % tiles * tile, width = std::min(tile, inner - c);
      typename R::Acc acc[kReduceTile];
      std::fill(acc, acc + width, R::init());
      for (int64_t p = 0; p < pieces; ++p) {
        const auto* from = partial + (o * pieces + p) * inner + c;
        for (int64_t i = 0; i < width; ++i) acc[i] = R::merge(acc[i], from[i]);
      }
      for (int64_t i = 0; i < width; ++i) y[o * inner + c + i] = r.finish(acc[i]);
    }
  });
}

template <class R, class T>
void reduce_axis(R r, const Tensor& x, int64_t n, int64_t inner, Tensor& y, T) {
  const T* from = x.data<T>();
  auto* to = y.data<typename R::Out>();
  const int64_t outer = y.numel() / inner;
  if (inner == 1)
    reduce_rows(r, from, outer, n, to);
  else
    reduce_columns(r, from, outer, n, inner, to);
}

}  // namespace detail

ATLAS_INLINE void sum_forward(const Tensor& x, int64_t n, int64_t inner, double scale, Tensor& y) {
  const auto run = [&](auto tag) { detail::reduce_axis(SumOf<decltype(tag)>{scale}, x, n, inner, y, tag); };
  if (x.dtype() == boolean)
    run(bool{});
  else
    visit_number(x, "sum", run);
}

template <class F>
void extreme_forward(F, const Tensor& x, int64_t n, int64_t inner, Tensor& y) {
  visit_number(x, F::kName, [&](auto tag) { detail::reduce_axis(ExtremeOf<F, decltype(tag)>{}, x, n, inner, y, tag); });
}

#ifdef ATLAS_COMPILED_LIB
template void extreme_forward(functors::Maximum, const Tensor&, int64_t, int64_t, Tensor&);
template void extreme_forward(functors::Minimum, const Tensor&, int64_t, int64_t, Tensor&);
#endif

}  // namespace atlas::inline ATLAS_ABI::cpu
