// Bodies of resize.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <new>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/kernels/resize.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/resize.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// @throws Error unless the weights of `out` results along an axis fit into memory.
inline void check_taps(const char* op, int64_t out) {
  constexpr int64_t kTable = 128;  // bytes of an output's weights and of their copies on the way, about
  check_memory(op, {out}, kTable);
}

/// f(), which makes tables of weights. @throws Error when there is no memory for them.
template <class F>
auto with_tables(const char* op, int64_t out, const F& f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    fail(op, "there is no memory for the weights of {} results along an axis", out);
  }
}

/// What a map becomes: y = R x C^T per channel, with the weights of its rows and columns.
struct Resampling {
  const char* op;
  ResampleTaps rows, columns;

  /// @param taps  taps(0) and taps(1) give the weights
  template <class F>
  Resampling(const char* who, int64_t height, int64_t width, const F& taps) : op(who) {
    check_taps(op, std::max(height, width));
    with_tables(op, std::max(height, width), [&] { rows = taps(0), columns = taps(1); });
  }
  /// [B, H, W, C] -> [B, rows, columns, C]
  Tensor forward(const Tensor& x) const {
    Tensor y = empty({x.size(0), rows.size(), columns.size(), x.size(3)}, x.dtype(), x.device());
    with_tables(op, std::max(rows.size(), columns.size()),
                [&] { kernels::resample2d(x.contiguous(), rows, columns, y); });
    return y;
  }
  /// dx = R^T dy C.   @param from  the shape of x
  Tensor backward(const Tensor& dy, const Shape& from) const {
    Tensor dx = empty(from, dy.dtype(), dy.device());
    with_tables(op, std::max(rows.size(), columns.size()), [&] {
      kernels::resample2d(dy.contiguous(), transposed(rows, from[1]), transposed(columns, from[2]), dx);
    });
    return dx;
  }
};

/// The differentiable resampling op behind resize() and the average pools.
///
/// taps(0) and taps(1) give the weights of the rows and columns, once it is sure that everything fits into memory.
template <class F>
Tensor resample(const char* op, const Tensor& x, int64_t height, int64_t width, const F& taps) {
  const Shape to{x.shape()[0], height, width, x.shape()[3]}, from = x.shape();
  check_memory(op, to, item_size(x.dtype()), x.device());
  if (to.numel() == 0)
    return record(op, empty(to, x.dtype(), x.device()), {x},
                  [from](const Tensor& dy) { return Grads{detail::zeros_of(from, dy)}; });
  Resampling how(op, height, width, taps);
  Tensor y = how.forward(x);
  return record(op, std::move(y), {x},
                [how = std::move(how), from](const Tensor& dy) { return Grads{how.backward(dy, from)}; });
}

/// The cubic convolution kernel (Keys, "Cubic convolution interpolation for digital image processing", 1981).
inline double cubic(double t, double a) {
  t = std::abs(t);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

ATLAS_INLINE double triangle(double t) { return std::max(0.0, 1 - std::abs(t)); }

/// The 2 r filter samples around `source` of a kernel of radius r; those beyond the border count for the border pixel.
template <class F>
void push_interpolated(ResampleTaps& taps, double source, int64_t radius, int64_t in, const F& filter) {
  const double base = std::floor(source);
  const auto lowest = static_cast<int64_t>(base) - radius + 1;
  const int64_t begin = std::clamp<int64_t>(lowest, 0, in - 1),
                last = std::clamp<int64_t>(lowest + 2 * radius - 1, 0, in - 1);
  std::vector<double> weights(static_cast<size_t>(last - begin + 1), 0.0);
  for (int64_t k = lowest; k < lowest + 2 * radius; ++k)
    weights[static_cast<size_t>(std::clamp<int64_t>(k, 0, in - 1) - begin)] += filter(static_cast<double>(k) - source);
  taps.push_back(begin, weights);
}

ATLAS_INLINE ResampleTaps make_taps(int64_t in, int64_t out, Interpolation mode, bool antialias, bool align_corners) {
  ResampleTaps taps;
  const double scale = align_corners ? (out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0.0)
                                     : static_cast<double>(in) / static_cast<double>(out);
  for (int64_t i = 0; i < out; ++i) {
    const double at = static_cast<double>(i);
    const double source = align_corners ? at * scale : (at + 0.5) * scale - 0.5;  // in input pixels
    if (mode == Interpolation::nearest) {
      // In float32, as PyTorch: the choice at ties is part of the definition.
      const float left = std::floor(static_cast<float>(i) * (static_cast<float>(in) / static_cast<float>(out)));
      taps.push_back(std::min(static_cast<int64_t>(left), in - 1), {1.0});
    } else if (antialias) {
      // The filter is stretched by the scale when shrinking, cut off at the border and normalized.
      const bool linear = mode == Interpolation::bilinear;
      const double stretch = std::max(scale, 1.0), support = (linear ? 1 : 2) * stretch, center = source + 0.5;
      const int64_t begin = std::max(static_cast<int64_t>(center - support + 0.5), int64_t{0});
      const int64_t end = std::min(static_cast<int64_t>(center + support + 0.5), in);
      std::vector<double> weights;
      double total = 0;
      for (int64_t k = begin; k < end; ++k) {
        const double t = (static_cast<double>(k) - source) / stretch;
        weights.push_back(linear ? triangle(t) : cubic(t, -0.5));
        total += weights.back();
      }
      for (double& w : weights) w /= total;
      taps.push_back(begin, weights);
    } else if (mode == Interpolation::bilinear) {
      push_interpolated(taps, std::max(source, 0.0), 1, in, triangle);
    } else {
      push_interpolated(taps, source, 2, in, [](double t) { return cubic(t, -0.75); });
    }
  }
  return taps;
}

ATLAS_INLINE ResampleTaps transposed(const ResampleTaps& taps, int64_t in) {
  std::vector<std::vector<double>> weights(static_cast<size_t>(in));
  std::vector<int64_t> begin(static_cast<size_t>(in), 0);
  for (int64_t i = 0; i < taps.size(); ++i) {
    const auto s = static_cast<size_t>(i);
    for (int64_t k = 0; k < taps.count[s]; ++k) {
      const auto input = static_cast<size_t>(taps.begin[s] + k);
      if (weights[input].empty()) begin[input] = i;
      weights[input].resize(static_cast<size_t>(i - begin[input]), 0.0);  // an output between that skips this input
      weights[input].push_back(taps.weight[static_cast<size_t>(taps.first[s] + k)]);
    }
  }
  ResampleTaps back;
  for (size_t k = 0; k < weights.size(); ++k) back.push_back(begin[k], weights[k]);
  return back;
}

ATLAS_INLINE Tensor dense(const ResampleTaps& taps, int64_t in, DType dtype, Device device) {
  Tensor m = zeros({taps.size(), in}, float64, Device{});
  for (int64_t i = 0; i < taps.size(); ++i)
    for (int64_t k = 0; k < taps.count[static_cast<size_t>(i)]; ++k)
      m.at<double>({i, taps.begin[static_cast<size_t>(i)] + k}) =
          taps.weight[static_cast<size_t>(taps.first[static_cast<size_t>(i)] + k)];
  return m.to(dtype).to(device);
}

ATLAS_INLINE Tensor resample_reference(const Tensor& x, const ResampleTaps& rows, const ResampleTaps& columns) {
  const Tensor r = dense(rows, x.shape()[1], x.dtype(), x.device()),
               c = dense(columns, x.shape()[2], x.dtype(), x.device());
  const Tensor planes = x.permute({0, 3, 1, 2});  // [B, C, H, W]
  return matmul(matmul(r, planes), c.transpose(0, 1)).permute({0, 2, 3, 1});
}

inline void check_resize(const Tensor& x, int64_t height, int64_t width, Interpolation mode, bool antialias,
                         bool align_corners) {
  check(x.dim() == 4, "resize", "x needs four axes [B, H, W, C], got {}", describe(x));
  check(height >= 1 && width >= 1, "resize", "the new size is {} x {}, needs at least 1 x 1", height, width);
  check(x.shape()[1] >= 1 && x.shape()[2] >= 1, "resize", "x {} has no pixels to resize from", describe(x));
  check(!antialias || mode != Interpolation::nearest, "resize", "antialias needs bilinear or bicubic interpolation");
  check(!align_corners || (mode != Interpolation::nearest && !antialias), "resize",
        "align_corners needs bilinear or bicubic interpolation without antialias");
  check_dtype(x, "resize", takes::uint8);
}

}  // namespace detail

ATLAS_INLINE Tensor resize(const Tensor& x, int64_t height, int64_t width, Interpolation mode, bool antialias,
                           bool align_corners) {
  detail::check_resize(x, height, width, mode, antialias, align_corners);
  return detail::resample("resize", x, height, width, [&](int axis) {
    return detail::make_taps(x.shape()[axis + 1], axis == 0 ? height : width, mode, antialias, align_corners);
  });
}

ATLAS_INLINE Tensor resize_cat(const std::vector<Tensor>& maps, int64_t height, int64_t width, Interpolation mode) {
  constexpr const char* op = "resize_cat";
  check(!maps.empty(), op, "needs at least one map");
  const Tensor& first = maps.front();
  std::vector<int64_t> begin{0};
  for (size_t i = 0; i < maps.size(); ++i) {
    const Tensor& x = maps[i];
    detail::check_resize(x, height, width, mode, false, false);
    check_dtype(x, op, 0);
    check(x.dtype() == first.dtype() && x.device() == first.device() && x.size(0) == first.size(0), op,
          "map {} is {}, map 0 is {}: dtype, device and batch must agree", i, describe(x), describe(first));
    int64_t end = 0;
    check(!__builtin_add_overflow(begin.back(), x.size(3), &end), op, "axis 3 becomes longer than 64 bits");
    begin.push_back(end);
  }
  const Shape to{first.size(0), height, width, begin.back()};
  check_memory(op, to, item_size(first.dtype()), first.device());
  Tensor y = empty(to, first.dtype(), first.device());
  // How each map is resized; not those that are put there as they are, and those without elements.
  std::vector<std::optional<detail::Resampling>> how(maps.size());
  std::vector<Shape> shapes;
  for (size_t i = 0; i < maps.size(); ++i) {
    const Tensor& x = maps[i];
    shapes.push_back(x.shape());
    Tensor part = slice(y, 3, begin[i], begin[i + 1]);
    if (part.numel() > 0 && (x.size(1) != height || x.size(2) != width))
      how[i].emplace(op, height, width, [&](int axis) {
        return detail::make_taps(x.shape()[axis + 1], axis == 0 ? height : width, mode, false);
      });
    if (part.numel() > 0) copy_elements(part, how[i] ? how[i]->forward(x) : x);
  }
  return record(op, std::move(y), maps, [begin, how = std::move(how), shapes](const Tensor& dy) {
    // Each map's gradient is R^T dy_i C of its own channels dy_i, as in resize().
    Grads grads;
    for (size_t i = 0; i < shapes.size(); ++i) {
      const Tensor mine = slice(dy, 3, begin[i], begin[i + 1]);
      grads.push_back(mine.numel() == 0 ? detail::zeros_of(shapes[i], dy)
                      : how[i]          ? how[i]->backward(mine, shapes[i])
                                        : mine);
    }
    return grads;
  });
}

namespace detail {
/// Some of the rows, numbered from `x_first` on.
inline ResampleTaps some_of(const ResampleTaps& taps, RowSpan rows, int64_t x_first) {
  ResampleTaps some;
  for (int64_t i = rows.first; i < rows.first + rows.count; ++i) {
    const auto s = static_cast<size_t>(i);
    const auto w = taps.weight.begin() + taps.first[s];
    some.push_back(taps.begin[s] - x_first, {w, w + taps.count[s]});
  }
  return some;
}
inline void check_rows(const char* op, int64_t in, int64_t out, RowSpan rows) {
  check(in >= 1, op, "a map of {} rows has nothing to resize from", in);
  // The span's end is not computed: it may overflow.
  check(rows.first >= 0 && rows.count >= 1 && rows.count <= out && rows.first <= out - rows.count, op,
        "{} rows from row {} on are not all among the {} rows of the result", rows.count, rows.first, out);
  check_taps(op, out);
}
inline RowSpan rows_read(const char* op, int64_t in, int64_t out, RowSpan rows, Interpolation mode) {
  const ResampleTaps taps = with_tables(op, out, [&] { return some_of(make_taps(in, out, mode, false), rows, 0); });
  int64_t first = in, end = 0;
  for (size_t i = 0; i < taps.begin.size(); ++i) {
    first = std::min(first, taps.begin[i]);
    end = std::max(end, taps.begin[i] + taps.count[i]);
  }
  return {first, end - first};
}
}  // namespace detail

ATLAS_INLINE RowSpan rows_read(int64_t in, int64_t out, RowSpan rows, Interpolation mode) {
  detail::check_rows("rows_read", in, out, rows);
  return detail::rows_read("rows_read", in, out, rows, mode);
}

ATLAS_INLINE Tensor resize_rows(const Tensor& x, int64_t x_first, int64_t x_height, int64_t height, int64_t width,
                                RowSpan rows, Interpolation mode) {
  detail::check_resize(x, height, width, mode, false, false);
  detail::check_rows("resize_rows", x_height, height, rows);
  const RowSpan read = detail::rows_read("resize_rows", x_height, height, rows, mode);
  check(x_first >= 0 && x_first <= read.first && read.first + read.count - x_first <= x.size(1), "resize_rows",
        "rows {} to {} of the map are read, but x {} holds {} rows from row {} on", read.first, read.first + read.count,
        describe(x), x.size(1), x_first);
  if (x.size(0) == 0 || x.size(3) == 0) return empty({x.size(0), rows.count, width, x.size(3)}, x.dtype(), x.device());
  const detail::Resampling how("resize_rows", height, width, [&](int axis) {
    return axis == 0 ? detail::some_of(detail::make_taps(x_height, height, mode, false), rows, x_first)
                     : detail::make_taps(x.size(2), width, mode, false);
  });
  return how.forward(x);
}

ATLAS_INLINE Tensor resize_reference(const Tensor& x, int64_t height, int64_t width, Interpolation mode, bool antialias,
                                     bool align_corners) {
  detail::check_resize(x, height, width, mode, antialias, align_corners);
  return detail::resample_reference(x, detail::make_taps(x.shape()[1], height, mode, antialias, align_corners),
                                    detail::make_taps(x.shape()[2], width, mode, antialias, align_corners));
}

}  // namespace atlas::inline ATLAS_ABI
