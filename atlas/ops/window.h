// Windows of a feature map: partition with zero padding, and its inverse with cropping.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/kernels/window.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/join.h"
#include "atlas/ops/shape.h"

namespace atlas::inline ATLAS_ABI {

namespace window_detail {

inline constexpr int64_t kMost = 1 << 20;  // keeps sums and squares far from overflow

inline int64_t count(int64_t length, int64_t window) { return (length + window - 1) / window; }

inline Tensor cut(const Tensor& map, int64_t window) {
  const Shape& s = map.shape();
  Tensor windows =
      empty({s[0] * count(s[1], window) * count(s[2], window), window * window, s[3]}, map.dtype(), map.device());
  kernels::window_partition(map.contiguous(), window, windows);
  return windows;
}
inline Tensor join(const Tensor& windows, int64_t window, int64_t batch, int64_t height, int64_t width) {
  Tensor map = empty({batch, height, width, windows.shape()[2]}, windows.dtype(), windows.device());
  kernels::window_reverse(windows.contiguous(), window, map);
  return map;
}

}  // namespace window_detail

/// Cuts a feature map into windows of window x window pixels, row by row; the map is padded with zeros at the right and
/// the bottom to whole windows.
/// @param x       [B, H, W, C], any dtype
/// @param window  side of a window, at least 1
/// @return [B nh nw, window^2, C] with nh = ceil(H / window), nw = ceil(W / window); windows of one image are
/// neighbours
/// @throws Error when x has not four axes or window < 1.
inline Tensor window_partition(const Tensor& x, int64_t window) {
  check(x.dim() == 4, "window_partition", "x needs four axes [B, H, W, C], got {}", describe(x));
  check(window >= 1 && window <= window_detail::kMost, "window_partition", "window is {}, needs [1, {}]", window,
        window_detail::kMost);
  return record("window_partition", window_detail::cut(x, window), {x}, [window, s = x.shape()](const Tensor& dy) {
    // Every pixel has one place in the windows: dx takes dy back from there; padding is dropped. Overwrites.
    return Grads{window_detail::join(dy, window, s[0], s[1], s[2])};
  });
}

/// Puts windows together to a feature map and crops the padding: the inverse of window_partition.
/// @param windows  [B nh nw, window^2, C], any dtype
/// @param window   side of a window, at least 1
/// @param batch    B
/// @param height   H
/// @param width    W
/// @return [B, H, W, C]
/// @throws Error when the number or size of the windows does not fit the map.
inline Tensor window_reverse(const Tensor& windows, int64_t window, int64_t batch, int64_t height, int64_t width) {
  const char* op = "window_reverse";
  check(windows.dim() == 3, op, "windows need three axes [B nh nw, window^2, C], got {}", describe(windows));
  check(window >= 1 && window <= window_detail::kMost && batch >= 0 && height >= 0 && width >= 0, op,
        "needs window >= 1 and a map of no negative length, got window {}, map [{},{},{}]", window, batch, height,
        width);
  check(windows.shape()[1] == window * window, op, "windows {} axis 1 = {}, needs window^2 = {}", describe(windows),
        windows.shape()[1], window * window);
  const int64_t nh = window_detail::count(height, window), nw = window_detail::count(width, window);
  check(windows.shape()[0] == Shape{batch, nh, nw}.numel(), op,
        "windows {} axis 0 = {}, needs B nh nw = {} * {} * {} for a map of {} x {} pixels", describe(windows),
        windows.shape()[0], batch, nh, nw, height, width);
  return record(op, window_detail::join(windows, window, batch, height, width), {windows}, [window](const Tensor& dy) {
    // The inverse permutation; padding was cropped, so its gradient is zero. Overwrites.
    return Grads{window_detail::cut(dy, window)};
  });
}

/// window_partition from plain ops.
inline Tensor window_partition_reference(const Tensor& x, int64_t window) {
  const Shape& s = x.shape();
  const int64_t nh = window_detail::count(s[1], window), nw = window_detail::count(s[2], window);
  return pad(x, {0, 0, 0, 0}, {0, nh * window - s[1], nw * window - s[2], 0})
      .reshape({s[0], nh, window, nw, window, s[3]})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({s[0] * nh * nw, window * window, s[3]});
}

/// window_reverse from plain ops.
inline Tensor window_reverse_reference(const Tensor& windows, int64_t window, int64_t batch, int64_t height,
                                       int64_t width) {
  const int64_t nh = window_detail::count(height, window), nw = window_detail::count(width, window),
                channels = windows.shape()[2];
  return windows.reshape({batch, nh, nw, window, window, channels})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({batch, nh * window, nw * window, channels})
      .slice(1, 0, height)
      .slice(2, 0, width);
}

}  // namespace atlas::inline ATLAS_ABI
