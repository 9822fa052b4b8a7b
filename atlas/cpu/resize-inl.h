// CPU kernel of separable resampling. Per output row: a weighted sum of whole input rows (long contiguous loops), then
// the same along the row, pixel by pixel.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/kernels/resize.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

template <class A, class T>
void weighted_block(const T* x, int64_t stride, const A* weight, int64_t count, int64_t length, A* __restrict out) {
  if (count == 0) std::fill(out, out + length, A(0));
  for (int64_t k = 0; k < count; ++k) {
    const T* row = x + k * stride;
    const A w = weight[k];
    if (k == 0) {
      for (int64_t i = 0; i < length; ++i) out[i] = w * static_cast<A>(row[i]);
    } else {
      for (int64_t i = 0; i < length; ++i) out[i] += w * static_cast<A>(row[i]);
    }
  }
}

/// out = sum_k weight[k] row k. Long sums are taken in blocks, as roundings add up over the rows of one alone.
/// @param sums  room for `length` numbers
template <class A, class T>
void weighted_rows(const T* x, int64_t stride, const A* weight, int64_t count, int64_t length, A* out, double* sums) {
  constexpr int64_t kBlock = 64;
  if (count <= kBlock) return weighted_block(x, stride, weight, count, length, out);
  std::fill(sums, sums + length, 0.0);
  for (int64_t k = 0; k < count; k += kBlock) {
    weighted_block(x + k * stride, stride, weight + k, std::min(kBlock, count - k), length, out);
    for (int64_t i = 0; i < length; ++i) sums[i] += static_cast<double>(out[i]);
  }
  for (int64_t i = 0; i < length; ++i) out[i] = static_cast<A>(sums[i]);
}

}  // namespace detail

ATLAS_INLINE void resample2d(const Tensor& x, const ResampleTaps& rows, const ResampleTaps& columns, Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3], in_row = width * channels;
  const int64_t out_height = rows.size(), out_width = columns.size(), out_row = out_width * channels;
  visit_number(x, "resample2d", [&](auto tag) {
    using T = decltype(tag);
    using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const std::vector<A> row_weight(rows.weight.begin(), rows.weight.end());
    const std::vector<A> column_weight(columns.weight.begin(), columns.weight.end());
    const T* xp = x.data<T>();
    T* yp = y.data<T>();
    const int64_t mean_taps = 1 + static_cast<int64_t>(rows.weight.size()) / out_height;
    const int64_t work = mean_taps * in_row + static_cast<int64_t>(columns.weight.size()) * channels + 1;
    parallel_for(x.shape()[0] * out_height, std::max<int64_t>(1, 32768 / work), [&](int64_t begin, int64_t end) {
      A* row = workspace<A>(in_row);
      A* pixels = workspace<A>(out_row, 1);
      double* long_sums = workspace<double>(in_row, 2);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t b = r / out_height, i = r % out_height, at = rows.first[static_cast<size_t>(i)];
        const T* in = xp + (b * height + rows.begin[static_cast<size_t>(i)]) * in_row;
        T* out = yp + r * out_row;
        detail::weighted_rows(in, in_row, row_weight.data() + at, rows.count[static_cast<size_t>(i)], in_row, row,
                              long_sums);
        A* sums = pixels;
        if constexpr (std::is_same_v<T, A>) sums = out;
        for (int64_t j = 0; j < out_width; ++j) {
          const auto s = static_cast<size_t>(j);
          detail::weighted_rows(row + columns.begin[s] * channels, channels, column_weight.data() + columns.first[s],
                                columns.count[s], channels, sums + j * channels, long_sums);
        }
        if constexpr (!std::is_same_v<T, A>)
          for (int64_t k = 0; k < out_row; ++k) out[k] = static_cast<T>(std::clamp(sums[k] + A(0.5), A(0), A(255)));
      }
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
