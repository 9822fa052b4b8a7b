// Bodies of pixels.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "atlas/autograd/node.h"
#include "atlas/data/picture_resizer.h"
#include "atlas/data/pixels.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE Tensor as_image(const Tensor& image, std::string_view op) {
  check(image.defined() && image.dim() == 3 && image.numel() > 0 &&
            (image.dtype() == uint8 || image.dtype() == float32) && !image.device().is_cuda(),
        op, "needs a uint8 or float32 image [H,W,C] on the CPU, got {}", describe(image));
  return image.is_contiguous() ? image : copy_of(image);
}

ATLAS_INLINE Tensor to_float(const Tensor& image) {
  const Tensor x = as_image(image, "to_float");
  if (x.dtype() == float32) return x;
  Tensor y = empty(x.shape(), float32, Device{});
  const uint8_t* from = x.data<uint8_t>();
  float* to = y.data<float>();
  const int64_t n = x.numel();
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]) * (1.0f / 255.0f);
  return y;
}

ATLAS_INLINE Tensor crop(const Tensor& image, int64_t top, int64_t left, int64_t height, int64_t width) {
  const Tensor x = as_image(image, "crop");
  check(height > 0 && width > 0, "crop", "needs a size of at least 1 x 1, got {} x {}", height, width);
  return detail::crop_pixels(x, top, left, height, width, 0);
}

ATLAS_INLINE Tensor resize_image(const Tensor& image, int64_t height, int64_t width, Interpolation mode) {
  const Tensor x = as_image(image, "resize_image");
  check(height > 0 && width > 0, "resize_image", "needs a size of at least 1 x 1, got {} x {}", height, width);
  const Shape& s = x.shape();
  if (s[0] == height && s[1] == width) return x;
  const NoGrad guard;
  const bool smaller = height < s[0] || width < s[1];
  if (x.dtype() == uint8 && s[2] == 3 && mode != Interpolation::nearest)
    return resize_picture(x, height, width, mode, smaller);
  const Tensor one = raw_view(x, {1, s[0], s[1], s[2]}, contiguous_strides({1, s[0], s[1], s[2]}), x.offset());
  const Tensor y = resize(one, height, width, mode, smaller && mode != Interpolation::nearest);
  return raw_view(y, {height, width, s[2]}, contiguous_strides({height, width, s[2]}), y.offset());
}

namespace detail {

/// How pixels lie in memory: planes of height x width pixels of `bytes` bytes.
struct PixelLayout {
  int64_t planes, height, width, bytes;
  PixelLayout(const Tensor& x, bool are_planes)
      : planes(are_planes ? x.size(0) : 1), height(x.size(are_planes ? 1 : 0)), width(x.size(are_planes ? 2 : 1)) {
    bytes = item_size(x.dtype());
    if (!are_planes)
      for (int axis = 2; axis < static_cast<int>(x.dim()); ++axis) bytes *= x.size(axis);
  }
};

/// Memory for the result: x with other height and width.
inline Tensor resized_like(const Tensor& x, int64_t height, int64_t width, bool planes) {
  std::vector<int64_t> sizes(x.shape().begin(), x.shape().end());
  sizes[planes ? 1 : 0] = height;
  sizes[planes ? 2 : 1] = width;
  return empty(Shape(sizes), x.dtype(), Device{});
}

ATLAS_INLINE void fill_with(Tensor& x, int64_t value) {
  if (x.numel() == 0) return;  // it has no address
  if (x.dtype() == int64)
    std::fill_n(x.data<int64_t>(), x.numel(), value);
  else if (value == 0 || x.dtype() == uint8)
    std::memset(x.raw(), static_cast<int>(value), static_cast<size_t>(x.numel() * item_size(x.dtype())));
  else
    fail("crop", "cannot surround {} with {}", describe(x), value);
}

/// Copies every pixel of y from row from_row(row), column from_column(column) of x.
/// @tparam kBytes  of a pixel, where the compiler is to know; 0: PixelLayout says
template <size_t kBytes, class Row, class Column>
void gather_pixels_of(const Tensor& x, Tensor& y, bool planes, const Row& from_row, const Column& from_column) {
  if (y.numel() == 0) return;  // it has no address
  const PixelLayout in(x, planes), out(y, planes);
  const size_t bytes = kBytes > 0 ? kBytes : static_cast<size_t>(in.bytes);
  const char* from = static_cast<const char*>(x.raw());
  char* to = static_cast<char*>(y.raw());
  for (int64_t p = 0; p < out.planes; ++p, from += in.height * in.width * in.bytes)
    for (int64_t row = 0; row < out.height; ++row) {
      const char* line = from + from_row(row) * in.width * in.bytes;
      for (int64_t column = 0; column < out.width; ++column, to += bytes)
        std::memcpy(to, line + from_column(column) * static_cast<int64_t>(bytes), bytes);
    }
}

/// The same; pixels of bytes, of three bytes and of three floats are copied without a call.
template <class Row, class Column>
void gather_pixels(const Tensor& x, Tensor& y, bool planes, const Row& from_row, const Column& from_column) {
  switch (PixelLayout(x, planes).bytes) {
    case 1:
      return gather_pixels_of<1>(x, y, planes, from_row, from_column);
    case 3:
      return gather_pixels_of<3>(x, y, planes, from_row, from_column);
    case 12:
      return gather_pixels_of<12>(x, y, planes, from_row, from_column);
    default:
      return gather_pixels_of<0>(x, y, planes, from_row, from_column);
  }
}

ATLAS_INLINE Tensor crop_pixels(const Tensor& x, int64_t top, int64_t left, int64_t height, int64_t width,
                                int64_t outside, bool planes) {
  const PixelLayout in(x, planes);
  Tensor y = resized_like(x, height, width, planes);
  const int64_t x0 = std::clamp<int64_t>(left, 0, in.width), x1 = std::clamp<int64_t>(left + width, x0, in.width);
  const int64_t y0 = std::clamp<int64_t>(top, 0, in.height), y1 = std::clamp<int64_t>(top + height, y0, in.height);
  if ((x1 - x0) * (y1 - y0) != height * width) fill_with(y, outside);
  if (x.numel() == 0 || y.numel() == 0) return y;
  char* to = static_cast<char*>(y.raw());
  const char* from = static_cast<const char*>(x.raw());
  const int64_t pixel = in.bytes;
  for (int64_t p = 0; p < in.planes; ++p, to += height * width * pixel, from += in.height * in.width * pixel)
    for (int64_t row = y0; row < y1 && x0 < x1; ++row)
      std::memcpy(to + ((row - top) * width + x0 - left) * pixel, from + (row * in.width + x0) * pixel,
                  static_cast<size_t>((x1 - x0) * pixel));
  return y;
}

ATLAS_INLINE Tensor mirror_pixels(const Tensor& x, bool planes) {
  Tensor y = empty(x.shape(), x.dtype(), Device{});
  const int64_t width = PixelLayout(x, planes).width;
  gather_pixels(
      x, y, planes, [](int64_t row) { return row; }, [&](int64_t column) { return width - 1 - column; });
  return y;
}

ATLAS_INLINE Tensor nearest_pixels(const Tensor& x, int64_t height, int64_t width, bool planes) {
  const PixelLayout in(x, planes);
  Tensor y = resized_like(x, height, width, planes);
  // floor((i + 1/2) in / out), in whole numbers
  const auto from = [](int64_t i, int64_t n, int64_t out) { return (2 * i + 1) * n / (2 * out); };
  gather_pixels(
      x, y, planes, [&](int64_t row) { return from(row, in.height, height); },
      [&](int64_t column) { return from(column, in.width, width); });
  return y;
}

ATLAS_INLINE Tensor warp_nearest(const Tensor& x, const std::array<double, 6>& map, int64_t outside, bool planes) {
  const PixelLayout in(x, planes);
  Tensor y = empty(x.shape(), x.dtype(), Device{});
  fill_with(y, outside);
  if (y.numel() == 0) return y;
  const char* from = static_cast<const char*>(x.raw());
  char* to = static_cast<char*>(y.raw());
  for (int64_t p = 0; p < in.planes; ++p, from += in.height * in.width * in.bytes)
    for (int64_t row = 0; row < in.height; ++row)
      for (int64_t column = 0; column < in.width; ++column, to += in.bytes) {
        const double u = static_cast<double>(column) + 0.5, v = static_cast<double>(row) + 0.5;
        const double at_x = std::floor(map[0] * u + map[1] * v + map[2]);
        const double at_y = std::floor(map[3] * u + map[4] * v + map[5]);
        if (!(at_x >= 0 && at_x < static_cast<double>(in.width) && at_y >= 0 && at_y < static_cast<double>(in.height)))
          continue;
        std::memcpy(to, from + (static_cast<int64_t>(at_y) * in.width + static_cast<int64_t>(at_x)) * in.bytes,
                    static_cast<size_t>(in.bytes));
      }
  return y;
}

/// Weights of four neighbors for a place `t` in [0, 1) between the two in the middle.
inline std::array<double, 4> neighbor_weights(Interpolation mode, double t) {
  if (mode == Interpolation::nearest) return {0, t < 0.5 ? 1.0 : 0.0, t < 0.5 ? 0.0 : 1.0, 0};
  if (mode != Interpolation::bicubic) return {0, 1 - t, t, 0};
  // Keys' kernel with a = -1, which imaging programs take for affine maps.
  const auto w = [](double d) { return d < 1 ? (d - 2) * d * d + 1 : ((5 - d) * d - 8) * d + 4; };
  return {w(1 + t), w(t), w(1 - t), w(2 - t)};
}

template <class T>
void warp_rows(const Tensor& x, Tensor& y, const std::array<double, 6>& map, Interpolation mode,
               const std::array<double, 3>& fill) {
  const int64_t h = x.size(0), w = x.size(1), channels = x.size(2);
  constexpr bool bytes = std::is_same_v<T, uint8_t>;
  const auto store = [](double v) {
    if constexpr (bytes) return static_cast<uint8_t>(std::clamp(std::floor(v + 0.5), 0.0, 255.0));
    return static_cast<T>(v);
  };
  const T* from = x.data<T>();
  T* to = y.data<T>();
  for (int64_t row = 0; row < h; ++row)
    for (int64_t column = 0; column < w; ++column, to += channels) {
      const double u = static_cast<double>(column) + 0.5, v = static_cast<double>(row) + 0.5;
      const double at_x = map[0] * u + map[1] * v + map[2], at_y = map[3] * u + map[4] * v + map[5];
      if (!(at_x >= 0 && at_x < static_cast<double>(w) && at_y >= 0 && at_y < static_cast<double>(h))) {
        for (int64_t c = 0; c < channels; ++c) to[c] = store(fill[static_cast<size_t>(c % 3)] / (bytes ? 1.0 : 255.0));
        continue;
      }
      const double left = std::floor(at_x - 0.5), top = std::floor(at_y - 0.5);
      const std::array<double, 4> wx = neighbor_weights(mode, at_x - 0.5 - left),
                                  wy = neighbor_weights(mode, at_y - 0.5 - top);
      for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (int64_t j = 0; j < 4; ++j) {
          if (wy[static_cast<size_t>(j)] == 0) continue;
          const int64_t line = std::clamp<int64_t>(static_cast<int64_t>(top) + j - 1, 0, h - 1) * w;
          double part = 0;
          for (int64_t i = 0; i < 4; ++i)
            if (wx[static_cast<size_t>(i)] != 0)
              part +=
                  wx[static_cast<size_t>(i)] *
                  static_cast<double>(
                      from[(line + std::clamp<int64_t>(static_cast<int64_t>(left) + i - 1, 0, w - 1)) * channels + c]);
          sum += wy[static_cast<size_t>(j)] * part;
        }
        to[c] = store(sum);
      }
    }
}

ATLAS_INLINE Tensor warp_image(const Tensor& image, const std::array<double, 6>& map, Interpolation mode,
                               const std::array<double, 3>& fill) {
  const Tensor x = as_image(image, "warp");
  Tensor y = empty(x.shape(), x.dtype(), Device{});
  if (x.dtype() == uint8)
    warp_rows<uint8_t>(x, y, map, mode, fill);
  else
    warp_rows<float>(x, y, map, mode, fill);
  return y;
}

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data
