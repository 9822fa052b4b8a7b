// Mask pasting, pixel by pixel.
#pragma once

#include <cstdint>

#include "atlas/kernels/paste_axis.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// The value of a mask, stretched over a box, at one pixel of the image: 0 beyond it.   mask: [rows, columns]
template <class T>
double pasted_pixel(const PasteAxis& down, const PasteAxis& across, int64_t columns, const T* mask, int64_t row,
                    int64_t column) {
  double sum = 0;
  down.for_each(row, [&](int64_t k, double part) {
    across.for_each(column,
                    [&](int64_t l, double share) { sum += part * share * static_cast<double>(mask[k * columns + l]); });
  });
  return sum;
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
