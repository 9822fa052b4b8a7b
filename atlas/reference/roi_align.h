// RoIAlign as its definition says: every sample of every bin is read between four pixels.
#pragma once

#include <cstdint>

#include "atlas/kernels/roi_align_step.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// Calls f(bin number, pixel of the map, weight) for every pixel that a sample of a region reads.
/// @param rows, columns  the axes of the region on the map   @param bins  a side
template <class F>
void for_each_roi_sample(const RoiAxis& rows, const RoiAxis& columns, int64_t bins, const F& f) {
  for (int64_t i = 0; i < bins; ++i)
    for (int64_t j = 0; j < bins; ++j)
      rows.for_each_sample(i, [&](int64_t top, int64_t bottom, double down) {
        columns.for_each_sample(j, [&](int64_t left, int64_t right, double across) {
          const double each = 1 / (rows.samples * columns.samples);
          f(i * bins + j, top * columns.size + left, each * (1 - down) * (1 - across));
          f(i * bins + j, top * columns.size + right, each * (1 - down) * across);
          f(i * bins + j, bottom * columns.size + left, each * down * (1 - across));
          f(i * bins + j, bottom * columns.size + right, each * down * across);
        });
      });
}

/// y[bin, c] = sum of weight x[pixel, c].   x: [pixels, channels], y: [bins bins, channels]
template <class M, class T>
void roi_align_forward(const RoiAxis& rows, const RoiAxis& columns, int64_t bins, int64_t channels, const M* x, T* y) {
  for (int64_t i = 0; i < bins * bins * channels; ++i) y[i] = 0;
  for_each_roi_sample(rows, columns, bins, [&](int64_t bin, int64_t pixel, double weight) {
    for (int64_t c = 0; c < channels; ++c)
      y[bin * channels + c] += static_cast<T>(weight) * static_cast<T>(x[pixel * channels + c]);
  });
}

/// dx[pixel, c] += weight dy[bin, c]
template <class T>
void roi_align_backward(const RoiAxis& rows, const RoiAxis& columns, int64_t bins, int64_t channels, const T* dy,
                        T* dx) {
  for_each_roi_sample(rows, columns, bins, [&](int64_t bin, int64_t pixel, double weight) {
    for (int64_t c = 0; c < channels; ++c) dx[pixel * channels + c] += static_cast<T>(weight) * dy[bin * channels + c];
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
