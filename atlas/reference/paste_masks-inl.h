// The plain kernel of mask pasting.
#pragma once

#include <type_traits>

#include "atlas/kernels/paste_masks.h"
#include "atlas/reference/paste_masks.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

ATLAS_INLINE void paste_masks(const Tensor& masks, const Tensor& boxes, double threshold, Tensor& y) {
  const int64_t height = y.size(1), width = y.size(2), rows = masks.size(1), columns = masks.size(2);
  visit_float(masks, "paste_masks", [&](auto tag) {
    using T = decltype(tag);
    for (int64_t n = 0; n < masks.size(0); ++n) {
      const double* b = boxes.data<double>() + 4 * n;
      const PasteAxis down{b[1], b[3] - b[1], static_cast<double>(rows)},
          across{b[0], b[2] - b[0], static_cast<double>(columns)};
      for (int64_t i = 0; i < height; ++i)
        for (int64_t j = 0; j < width; ++j) {
          const double v = reference::pasted_pixel(down, across, columns, masks.data<T>() + n * rows * columns, i, j);
          const int64_t at = (n * height + i) * width + j;
          if (y.dtype() == uint8)
            y.data<uint8_t>()[at] = v >= threshold ? 1 : 0;
          else
            y.data<T>()[at] = static_cast<T>(v);
        }
    }
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
