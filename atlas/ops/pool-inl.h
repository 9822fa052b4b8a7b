// Bodies of pool.h.
#pragma once

#include <array>

#include "atlas/autograd/node.h"
#include "atlas/kernels/pool.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/join.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/resize-inl.h"
#include "atlas/ops/resize.h"
#include "atlas/ops/shape.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE PoolWindow checked(const char* op, const Tensor& x, RowsColumns kernel, RowsColumns stride,
                                RowsColumns padding) {
  check(x.dim() == 4, op, "x needs four axes [B, H, W, C], got {}", describe(x));
  check_float(x, op);
  constexpr int64_t most = int64_t{1} << 30;  // keeps sums and products far from overflow
  for (size_t a = 0; a < 2; ++a) {
    const int axis = static_cast<int>(a) + 1;
    check(kernel[a] >= 1 && kernel[a] <= most && stride[a] >= 1 && stride[a] <= most, op,
          "kernel and stride need lengths in [1, {}], got kernel {}, stride {} for axis {}", most, kernel[a], stride[a],
          axis);
    check(padding[a] >= 0 && padding[a] <= kernel[a] / 2, op,
          "padding {} of axis {} is outside [0, {}], half the kernel {}", padding[a], axis, kernel[a] / 2, kernel[a]);
    check(x.shape()[axis] >= 1 && x.shape()[axis] + 2 * padding[a] >= kernel[a], op,
          "x {} axis {} = {} with padding {} is shorter than the kernel, {}", describe(x), axis, x.shape()[axis],
          padding[a], kernel[a]);
  }
  return {kernel, stride, padding};
}

/// Averages along axis a (0 or 1) of the windows.
inline ResampleTaps average_taps(const PoolWindow& w, int64_t in, size_t a, bool count_include_pad) {
  ResampleTaps taps;
  for (int64_t o = 0; o < w.count(in, a); ++o) {
    const int64_t from = o * w.stride[a] - w.padding[a], begin = std::max<int64_t>(0, from),
                  end = std::min(in, from + w.kernel[a]);
    const int64_t divisor = count_include_pad ? w.kernel[a] : end - begin;
    taps.push_back(begin, std::vector<double>(static_cast<size_t>(end - begin), 1.0 / static_cast<double>(divisor)));
  }
  return taps;
}

/// Output o averages the inputs [floor(o in / out), ceil((o + 1) in / out)).
inline ResampleTaps adaptive_taps(int64_t in, int64_t out) {
  ResampleTaps taps;
  for (int64_t o = 0; o < out; ++o) {
    const int64_t begin = o * in / out, count = ((o + 1) * in + out - 1) / out - begin;
    taps.push_back(begin, std::vector<double>(static_cast<size_t>(count), 1.0 / static_cast<double>(count)));
  }
  return taps;
}

inline void check_adaptive(const Tensor& x, int64_t height, int64_t width) {
  check(x.dim() == 4, "adaptive_avg_pool2d", "x needs four axes [B, H, W, C], got {}", describe(x));
  check_float(x, "adaptive_avg_pool2d");
  constexpr int64_t most = (int64_t{1} << 30) - 1;
  check(height >= 1 && width >= 1 && height <= most && width <= most, "adaptive_avg_pool2d",
        "the new size is {} x {}, needs lengths in [1, {}]", height, width, most);
  check(x.shape()[1] >= 1 && x.shape()[2] >= 1, "adaptive_avg_pool2d", "x {} has no pixels", describe(x));
}

}  // namespace detail

ATLAS_INLINE Tensor max_pool2d(const Tensor& x, RowsColumns kernel, RowsColumns stride, RowsColumns padding) {
  const PoolWindow w = detail::checked("max_pool2d", x, kernel, stride, padding);
  const Tensor in = x.contiguous();
  Tensor y =
      empty({x.shape()[0], w.count(x.shape()[1], 0), w.count(x.shape()[2], 1), x.shape()[3]}, x.dtype(), x.device());
  Tensor index;
  if (needs_record({x})) index = empty(y.shape(), w.index_dtype(), x.device());
  kernels::max_pool2d_forward(in, w, y, index);
  return record("max_pool2d", y, {x}, [index = Saved(index, "max_pool2d"), w, s = x.shape()](const Tensor& dy) {
    // dy goes to the pixel whose position was kept; windows that overlap add up. Overwrites.
    Tensor dx = empty(s, dy.dtype(), dy.device());
    kernels::max_pool2d_backward(index(), dy.contiguous(), w, dx);
    return Grads{dx};
  });
}

ATLAS_INLINE Tensor max_pool2d(const Tensor& x, int64_t kernel) {
  return max_pool2d(x, {kernel, kernel}, {kernel, kernel});
}

ATLAS_INLINE Tensor avg_pool2d(const Tensor& x, RowsColumns kernel, RowsColumns stride, RowsColumns padding,
                               bool count_include_pad) {
  const PoolWindow w = detail::checked("avg_pool2d", x, kernel, stride, padding);
  return detail::resample("avg_pool2d", x, w.count(x.shape()[1], 0), w.count(x.shape()[2], 1), [&](int axis) {
    return detail::average_taps(w, x.shape()[axis + 1], static_cast<size_t>(axis), count_include_pad);
  });
}

ATLAS_INLINE Tensor avg_pool2d(const Tensor& x, int64_t kernel) {
  return avg_pool2d(x, {kernel, kernel}, {kernel, kernel});
}

ATLAS_INLINE Tensor adaptive_avg_pool2d(const Tensor& x, int64_t height, int64_t width) {
  detail::check_adaptive(x, height, width);
  return detail::resample("adaptive_avg_pool2d", x, height, width, [&](int axis) {
    return detail::adaptive_taps(x.shape()[axis + 1], axis == 0 ? height : width);
  });
}

ATLAS_INLINE Tensor max_pool2d_reference(const Tensor& x, RowsColumns kernel, RowsColumns stride, RowsColumns padding) {
  const Shape around{0, padding[0], padding[1], 0};
  const Tensor padded = pad(x, around, around, -std::numeric_limits<double>::infinity());
  return max(unfold(unfold(padded, 1, kernel[0], stride[0]), 2, kernel[1], stride[1]), {-2, -1});
}

ATLAS_INLINE Tensor avg_pool2d_reference(const Tensor& x, RowsColumns kernel, RowsColumns stride, RowsColumns padding) {
  const Shape around{0, padding[0], padding[1], 0};
  return mean(unfold(unfold(pad(x, around, around), 1, kernel[0], stride[0]), 2, kernel[1], stride[1]), {-2, -1});
}

ATLAS_INLINE Tensor adaptive_avg_pool2d_reference(const Tensor& x, int64_t height, int64_t width) {
  detail::check_adaptive(x, height, width);
  return detail::resample_reference(x, detail::adaptive_taps(x.shape()[1], height),
                                    detail::adaptive_taps(x.shape()[2], width));
}

}  // namespace atlas::inline ATLAS_ABI
