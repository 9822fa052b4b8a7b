// Cutting a map into windows and putting it together again, pixel by pixel.
#pragma once

#include <cstdint>

#include "atlas/kernels/window_layout.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// Calls f(pixel of the windows, pixel of the map, or -1 for padding) for every pixel of every window of `batch` maps.
///
/// Windows are numbered map by map and row by row, pixels of a window row by row. A window that reaches beyond the
/// right or the bottom edge holds padding there.
template <class F>
void for_each_window_pixel(int64_t batch, const WindowLayout& l, const F& f) {
  int64_t pixel = 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < l.rows(); ++i)
      for (int64_t j = 0; j < l.columns(); ++j)
        for (int64_t h = i * l.window_height; h < (i + 1) * l.window_height; ++h)
          for (int64_t w = j * l.window_width; w < (j + 1) * l.window_width; ++w, ++pixel)
            f(pixel, h < l.height && w < l.width ? (b * l.height + h) * l.width + w : -1);
}

/// windows[pixel] = map[its pixel], zero where there is none. It is also the gradient of window_reverse().
/// @param map  [batch, height, width, channels]   @param windows  [batch windows, pixels of a window, channels]
template <class T>
void window_partition(int64_t batch, int64_t channels, const WindowLayout& l, const T* map, T* windows) {
  for_each_window_pixel(batch, l, [&](int64_t to, int64_t from) {
    for (int64_t c = 0; c < channels; ++c) windows[to * channels + c] = from < 0 ? T(0) : map[from * channels + c];
  });
}

/// The inverse: map[pixel] = windows[its pixel]; padding is dropped. It is also the gradient of window_partition().
template <class T>
void window_reverse(int64_t batch, int64_t channels, const WindowLayout& l, const T* windows, T* map) {
  for_each_window_pixel(batch, l, [&](int64_t from, int64_t to) {
    for (int64_t c = 0; to >= 0 && c < channels; ++c) map[to * channels + c] = windows[from * channels + c];
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
