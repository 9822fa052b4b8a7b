// CPU kernel of mask pasting: only pixels under the mask are computed, a row of the mask's columns at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/kernels/paste_masks.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// Pixels of an axis that may have a part of a mask.
inline std::pair<int64_t, int64_t> pasted_pixels(const PasteAxis& axis, int64_t pixels) {
  if (!(axis.length != 0) || !std::isfinite(axis.low) || !std::isfinite(axis.length)) return {0, 0};
  const double margin = std::abs(axis.length) / axis.size + 1, other = axis.low + axis.length;
  const double from = std::floor(std::min(axis.low, other) - margin),
               to = std::ceil(std::max(axis.low, other) + margin);
  const auto n = static_cast<double>(pixels);
  return {static_cast<int64_t>(std::clamp(from, 0.0, n)), static_cast<int64_t>(std::clamp(to, 0.0, n))};
}

template <class T, class Out>
void paste(const Tensor& masks, const Tensor& boxes, double threshold, Tensor& y) {
  const int64_t height = y.size(1), width = y.size(2), rows = masks.size(1), columns = masks.size(2);
  parallel_for(masks.size(0), 1, [&](int64_t first, int64_t last) {
    std::vector<double> line(static_cast<size_t>(columns));
    for (int64_t n = first; n < last; ++n) {
      const double* b = boxes.data<double>() + 4 * n;
      const T* mask = masks.data<T>() + n * rows * columns;
      Out* const out = y.data<Out>() + n * height * width;
      std::fill(out, out + height * width, Out(0));
      const PasteAxis down{b[1], b[3] - b[1], static_cast<double>(rows)},
          across{b[0], b[2] - b[0], static_cast<double>(columns)};
      const auto [top, bottom] = pasted_pixels(down, height);
      const auto [left, right] = pasted_pixels(across, width);
      for (int64_t i = top; i < bottom; ++i) {
        std::fill(line.begin(), line.end(), 0.0);
        down.for_each(i, [&](int64_t k, double part) {
          for (int64_t l = 0; l < columns; ++l)
            line[static_cast<size_t>(l)] += part * static_cast<double>(mask[k * columns + l]);
        });
        for (int64_t j = left; j < right; ++j) {
          double sum = 0;
          across.for_each(j, [&](int64_t l, double part) { sum += part * line[static_cast<size_t>(l)]; });
          if constexpr (std::is_same_v<Out, uint8_t>)
            out[i * width + j] = sum >= threshold ? 1 : 0;
          else
            out[i * width + j] = static_cast<Out>(sum);
        }
      }
    }
  });
}

}  // namespace detail

ATLAS_INLINE void paste_masks(const Tensor& masks, const Tensor& boxes, double threshold, Tensor& y) {
  visit_float(masks, "paste_masks", [&](auto tag) {
    using T = decltype(tag);
    if (y.dtype() == uint8)
      detail::paste<T, uint8_t>(masks, boxes, threshold, y);
    else
      detail::paste<T, T>(masks, boxes, threshold, y);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
