// CPU kernels of softmax. Along the last axis a row is reduced at once; along another axis, a tile of neighboring
// columns is, so that the innermost loop is over contiguous memory either way.
#pragma once

#include <algorithm>
#include <limits>

#include "atlas/core/math.h"
#include "atlas/core/parallel.h"
#include "atlas/cpu/row_reduce.h"
#include "atlas/kernels/softmax.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

inline constexpr int64_t kTile = 64;  // columns handled together; one partial result each on the stack

template <class T>
void forward_row(const T* x, int64_t n, bool logarithm, T* __restrict y) {
  const T top = row_max(n, x);
  if (logarithm) {
    // Not x - (top + log_sum): large logits would lose the digits of the logarithm.
    const T log_sum = math::log(row_sum<T>(n, [&](int64_t i) { return math::exp(x[i] - top); }));
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] - top - log_sum;
    return;
  }
  const T total = row_sum<T>(n, [&](int64_t i) { return y[i] = math::exp(x[i] - top); });
  const T scale = T(1) / total;
  for (int64_t i = 0; i < n; ++i) y[i] *= scale;
}

/// e = exp(x - top), total += e, column by column.
template <class T>
void exponentials(const T* __restrict x, const T* __restrict top, int64_t width, T* __restrict total, T* __restrict e) {
  for (int64_t c = 0; c < width; ++c) {
    e[c] = math::exp(x[c] - top[c]);
    total[c] += e[c];
  }
}

/// `width` <= kTile columns; rows are `stride` elements apart.
template <class T>
void forward_columns(const T* x, int64_t n, int64_t stride, int64_t width, bool logarithm, T* __restrict y) {
  T top[kTile], total[kTile];
  std::fill(top, top + kTile, -std::numeric_limits<T>::infinity());
  std::fill(total, total + kTile, T(0));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < width; ++c) top[c] = x[i * stride + c] > top[c] ? x[i * stride + c] : top[c];
  for (int64_t i = 0; i < n; ++i) exponentials(x + i * stride, top, width, total, y + i * stride);
  if (logarithm) {
    for (int64_t c = 0; c < width; ++c) total[c] = math::log(total[c]);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < width; ++c) y[i * stride + c] = x[i * stride + c] - top[c] - total[c];
  } else {
    for (int64_t c = 0; c < width; ++c) total[c] = T(1) / total[c];
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < width; ++c) y[i * stride + c] *= total[c];
  }
}

template <class T>
void backward_row(const T* y, const T* dy, int64_t n, bool logarithm, T* __restrict dx) {
  if (logarithm) {
    const T total = row_sum<T>(n, [&](int64_t i) { return dy[i]; });
    for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] - math::exp(y[i]) * total;
  } else {
    const T shift = dy[0];
    const T total = row_sum<T>(n, [&](int64_t i) { return (dy[i] - shift) * y[i]; });
    for (int64_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - shift - total);
  }
}

template <class T>
void backward_columns(const T* y, const T* dy, int64_t n, int64_t stride, int64_t width, bool logarithm,
                      T* __restrict dx) {
  T total[kTile] = {};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < width; ++c)
      total[c] += logarithm ? dy[i * stride + c] : (dy[i * stride + c] - dy[c]) * y[i * stride + c];
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < width; ++c) {
      const int64_t at = i * stride + c;
      dx[at] = logarithm ? dy[at] - math::exp(y[at]) * total[c] : y[at] * (dy[at] - dy[c] - total[c]);
    }
  }
}

/// Calls row(offset) for each row of n contiguous elements, or columns(offset, width) for each tile of columns.
template <class Row, class Columns>
void for_each_line(const AxisView& v, const Row& row, const Columns& columns) {
  if (v.n == 0) return;
  if (v.inner == 1) {
    parallel_for(v.outer, std::max<int64_t>(1, 8192 / v.n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) row(r * v.n);
    });
    return;
  }
  const int64_t tiles = (v.inner + kTile - 1) / kTile;
  parallel_for(v.outer * tiles, std::max<int64_t>(1, 8192 / (v.n * std::min(v.inner, kTile))),
               [&](int64_t begin, int64_t end) {
                 for (int64_t t = begin; t < end; ++t) {
                   const int64_t c = t % tiles * kTile;
                   columns(t / tiles * v.n * v.inner + c, std::min(kTile, v.inner - c));
                 }
               });
}

}  // namespace detail

ATLAS_INLINE void softmax_forward(const Tensor& x, const AxisView& view, bool logarithm, Tensor& y) {
  if (x.numel() == 0) return;
  visit_float(x, "softmax", [&](auto tag) {
    using T = decltype(tag);
    const T* xp = x.data<T>();
    T* yp = y.data<T>();
    detail::for_each_line(
        view, [&](int64_t at) { detail::forward_row(xp + at, view.n, logarithm, yp + at); },
        [&](int64_t at, int64_t width) {
          detail::forward_columns(xp + at, view.n, view.inner, width, logarithm, yp + at);
        });
  });
}

// softmax: dy_i / dx_j = y_i (delta_ij - y_j), so dx = y (dy - sum dy y). As the y add up to 1, dy may be counted from
// its first element, so that what all of dy has in common costs no digits.
// log_softmax: dy_i / dx_j = delta_ij - exp(y_j), so dx = dy - exp(y) sum dy.
ATLAS_INLINE void softmax_backward(const Tensor& y, const Tensor& dy, const AxisView& view, bool logarithm,
                                   Tensor& dx) {
  if (y.numel() == 0) return;
  visit_float(y, "softmax", [&](auto tag) {
    using T = decltype(tag);
    const T *yp = y.data<T>(), *dyp = dy.data<T>();
    T* dxp = dx.data<T>();
    detail::for_each_line(
        view, [&](int64_t at) { detail::backward_row(yp + at, dyp + at, view.n, logarithm, dxp + at); },
        [&](int64_t at, int64_t width) {
          detail::backward_columns(yp + at, dyp + at, view.n, view.inner, width, logarithm, dxp + at);
        });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
