// CPU kernels of window_partition and window_reverse: one copy per row of a window.
#pragma once

#include <algorithm>
#include <cstring>

#include "atlas/core/parallel.h"
#include "atlas/kernels/window.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// Calls f(map_offset, window_offset, present, absent) for each row of each window, offsets and lengths in bytes:
/// `present` bytes lie on the map, `absent` beyond its edge.
template <class F>
void for_each_row(const Tensor& map, const WindowLayout& l, const F& f) {
  if (map.shape()[3] == 0) return;
  const int64_t pixel = map.shape()[3] * item_size(map.dtype()), nh = l.rows(), nw = l.columns();
  const int64_t row_bytes = l.window_width * pixel;
  // One item is one row of pixels of a strip of windows, edge rows included.
  parallel_for(map.shape()[0] * nh * l.window_height, std::max<int64_t>(1, 65536 / (nw * row_bytes + 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t inner = i % l.window_height,
                                 strip = i / l.window_height;  // image * nh + row of windows
                   const int64_t h = strip % nh * l.window_height + inner;
                   for (int64_t j = 0; j < nw; ++j) {
                     const int64_t first = j * l.window_width;
                     const int64_t columns = h < l.height ? std::min(l.window_width, l.width - first) : 0;
                     f(((strip / nh * l.height + h) * l.width + first) * pixel,
                       ((strip * nw + j) * l.window_height + inner) * row_bytes, columns * pixel,
                       (l.window_width - columns) * pixel);
                   }
                 }
               });
}

}  // namespace detail

ATLAS_INLINE void window_partition(const Tensor& map, const WindowLayout& layout, Tensor& windows) {
  const char* from = static_cast<const char*>(map.raw());
  char* to = static_cast<char*>(windows.raw());
  detail::for_each_row(map, layout, [&](int64_t in, int64_t out, int64_t present, int64_t absent) {
    if (present > 0) std::memcpy(to + out, from + in, static_cast<size_t>(present));
    if (absent > 0) std::memset(to + out + present, 0, static_cast<size_t>(absent));
  });
}

ATLAS_INLINE void window_reverse(const Tensor& windows, const WindowLayout& layout, Tensor& map) {
  const char* from = static_cast<const char*>(windows.raw());
  char* to = static_cast<char*>(map.raw());
  detail::for_each_row(map, layout, [&](int64_t out, int64_t in, int64_t present, int64_t) {
    if (present > 0) std::memcpy(to + out, from + in, static_cast<size_t>(present));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
