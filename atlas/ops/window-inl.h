// Bodies of window.h.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/kernels/window.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/join.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/window.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

inline void check_sides(const char* op, const WindowLayout& l) {
  for (const int64_t side : {l.window_height, l.window_width})
    check(side >= 1 && side <= kMostTokens, op, "window is {}, needs [1, {}]", side, kMostTokens);
}

}  // namespace detail

ATLAS_INLINE Tensor window_partition(const Tensor& x, const WindowLayout& layout) {
  check(x.dim() == 4, "window_partition", "x needs four axes [B, H, W, C], got {}", describe(x));
  detail::check_sides("window_partition", layout);
  check(x.shape()[1] == layout.height && x.shape()[2] == layout.width, "window_partition",
        "the layout is of {} x {} pixels, x is {}", layout.height, layout.width, describe(x));
  return record("window_partition", detail::cut(x, layout), {x}, [layout, s = x.shape()](const Tensor& dy) {
    // Every pixel has one place in the windows: dx takes dy back from there; padding is dropped. Overwrites.
    Tensor dx = empty(s, dy.dtype(), dy.device());
    kernels::window_reverse(dy.contiguous(), layout, dx);
    return Grads{dx};
  });
}

ATLAS_INLINE Tensor window_partition(const Tensor& x, int64_t window) {
  check(x.dim() == 4, "window_partition", "x needs four axes [B, H, W, C], got {}", describe(x));
  return window_partition(x, WindowLayout{x.shape()[1], x.shape()[2], window, window});
}

ATLAS_INLINE Tensor window_reverse(const Tensor& windows, const WindowLayout& layout, int64_t batch) {
  const char* op = "window_reverse";
  check(windows.dim() == 3, op, "windows need three axes [B nh nw, window^2, C], got {}", describe(windows));
  check(layout.height >= 0 && layout.width >= 0 && batch >= 0, op, "needs a map of no negative length, got [{},{},{}]",
        batch, layout.height, layout.width);
  detail::check_sides(op, layout);
  check(windows.shape()[1] == layout.pixels(), op, "windows {} axis 1 = {}, needs {} * {} = {} pixels",
        describe(windows), windows.shape()[1], layout.window_height, layout.window_width, layout.pixels());
  check(windows.shape()[0] == Shape{batch, layout.rows(), layout.columns()}.numel(), op,
        "windows {} axis 0 = {}, needs B nh nw = {} * {} * {} for a map of {} x {} pixels", describe(windows),
        windows.shape()[0], batch, layout.rows(), layout.columns(), layout.height, layout.width);
  Tensor map = empty({batch, layout.height, layout.width, windows.shape()[2]}, windows.dtype(), windows.device());
  kernels::window_reverse(windows.contiguous(), layout, map);
  return record(op, map, {windows}, [layout](const Tensor& dy) {
    // The inverse permutation; padding was cropped, so its gradient is zero. Overwrites.
    return Grads{detail::cut(dy, layout)};
  });
}

ATLAS_INLINE Tensor window_reverse(const Tensor& windows, int64_t window, int64_t batch, int64_t height,
                                   int64_t width) {
  return window_reverse(windows, WindowLayout{height, width, window, window}, batch);
}

ATLAS_INLINE Tensor window_partition_reference(const Tensor& x, int64_t window) {
  const Shape& s = x.shape();
  const WindowLayout l{s[1], s[2], window, window};
  const int64_t nh = l.rows(), nw = l.columns();
  return pad(x, {0, 0, 0, 0}, {0, nh * window - s[1], nw * window - s[2], 0})
      .reshape({s[0], nh, window, nw, window, s[3]})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({s[0] * nh * nw, window * window, s[3]});
}

ATLAS_INLINE Tensor window_reverse_reference(const Tensor& windows, int64_t window, int64_t batch, int64_t height,
                                             int64_t width) {
  const WindowLayout l{height, width, window, window};
  const int64_t nh = l.rows(), nw = l.columns(), channels = windows.shape()[2];
  return windows.reshape({batch, nh, nw, window, window, channels})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({batch, nh * window, nw * window, channels})
      .slice(1, 0, height)
      .slice(2, 0, width);
}

}  // namespace atlas::inline ATLAS_ABI
