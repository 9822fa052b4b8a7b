// Bodies of augment_ops.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "atlas/core/nearest.h"
#include "atlas/data/augment_ops.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// A value for each of the 256 of a byte.
using ByteTable = std::array<uint8_t, 256>;

template <class F>
ByteTable byte_table(const F& f) {
  ByteTable table;
  for (int i = 0; i < 256; ++i) table[static_cast<size_t>(i)] = static_cast<uint8_t>(std::clamp<int>(f(i), 0, 255));
  return table;
}

/// Lower-case letters alone, without what timm's names add.
inline std::string plain_op_name(std::string_view name) {
  std::string plain;
  for (const char c : name)
    if (c != '-' && c != '_') plain += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  for (const std::string_view end : {"increasing", "rel"})
    if (plain.size() > end.size() && plain.ends_with(end)) plain.resize(plain.size() - end.size());
  return plain;
}

inline const uint8_t* bytes_of(const Tensor& image) { return image.data<uint8_t>(); }

/// How often each byte occurs in each of three channels.
inline std::array<std::array<int64_t, 256>, 3> histograms(const Tensor& image) {
  std::array<std::array<int64_t, 256>, 3> all{};
  const uint8_t* p = bytes_of(image);
  for (int64_t i = 0; i < image.numel(); i += 3)
    for (size_t c = 0; c < 3; ++c) ++all[c][p[i + static_cast<int64_t>(c)]];
  return all;
}

inline Tensor looked_up(const Tensor& image, const std::array<ByteTable, 3>& tables) {
  Tensor y = empty(image.shape(), uint8, Device{});
  const uint8_t* p = bytes_of(image);
  uint8_t* q = y.data<uint8_t>();
  for (int64_t i = 0; i < image.numel(); i += 3)
    for (size_t c = 0; c < 3; ++c) q[i + static_cast<int64_t>(c)] = tables[c][p[i + static_cast<int64_t>(c)]];
  return y;
}
inline Tensor looked_up(const Tensor& image, const ByteTable& table) {
  return looked_up(image, std::array{table, table, table});
}

/// ITU-R 601-2 luma in 16 bits of fraction, as Pillow converts to "L".
inline int luma(const uint8_t* p) { return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16; }

/// from + f (to - from), cut to a byte without rounding.
inline uint8_t blended(int from, int to, float f) {
  const float v = static_cast<float>(from) + f * static_cast<float>(to - from);
  return v <= 0 ? uint8_t{0} : v >= 255 ? uint8_t{255} : static_cast<uint8_t>(v);
}

inline ByteTable stretched(const std::array<int64_t, 256>& histogram) {
  int low = 0, high = 255;
  while (low < 256 && histogram[static_cast<size_t>(low)] == 0) ++low;
  while (high >= 0 && histogram[static_cast<size_t>(high)] == 0) --high;
  if (high <= low) return byte_table([](int i) { return i; });
  const double scale = 255.0 / (high - low), offset = -low * scale;
  return byte_table([&](int i) { return static_cast<int>(i * scale + offset); });
}

inline ByteTable flattened(const std::array<int64_t, 256>& histogram) {
  int64_t sum = 0, last = 0, values = 0;
  for (const int64_t n : histogram)
    if (n > 0) sum += last = n, ++values;
  const int64_t step = (sum - last) / 255;
  if (values <= 1 || step == 0) return byte_table([](int i) { return i; });
  int64_t before = step / 2;
  return byte_table([&](int i) {
    const auto value = static_cast<int>(std::min<int64_t>(before / step, 255));
    before += histogram[static_cast<size_t>(i)];
    return value;
  });
}

inline Tensor contrasted(const Tensor& image, float f) {
  const uint8_t* p = bytes_of(image);
  int64_t sum = 0;
  for (int64_t i = 0; i < image.numel(); i += 3) sum += luma(p + i);
  const int mean = static_cast<int>(static_cast<double>(sum) / static_cast<double>(image.numel() / 3) + 0.5);
  return looked_up(image, byte_table([&](int i) { return blended(mean, i, f); }));
}

inline Tensor colored_by(const Tensor& image, float f) {
  Tensor y = empty(image.shape(), uint8, Device{});
  const uint8_t* p = bytes_of(image);
  uint8_t* q = y.data<uint8_t>();
  for (int64_t i = 0; i < image.numel(); i += 3) {
    const int gray = luma(p + i);
    for (int64_t c = 0; c < 3; ++c) q[i + c] = blended(gray, p[i + c], f);
  }
  return y;
}

/// Smoothed by the weights 1 1 1, 1 5 1, 1 1 1 over 13; pixels at the border stay.
inline Tensor sharpened(const Tensor& image, float f) {
  const int64_t h = image.size(0), w = image.size(1), line = 3 * w;
  Tensor y = empty(image.shape(), uint8, Device{});
  const uint8_t* p = bytes_of(image);
  uint8_t* q = y.data<uint8_t>();
  std::memcpy(q, p, static_cast<size_t>(image.numel()));
  for (int64_t row = 1; row + 1 < h; ++row)
    for (int64_t i = row * line + 3; i < (row + 1) * line - 3; ++i) {
      int sum = 4 * p[i];
      for (const int64_t at : {i - line, i, i + line}) sum += p[at - 3] + p[at] + p[at + 3];
      q[i] = blended((2 * sum + 13) / 26, p[i], f);
    }
  return y;
}

}  // namespace detail

ATLAS_INLINE AugmentOp find_augment_op(std::string_view name) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < kAugmentOps; ++i) {
    names.emplace_back(kAugmentOpNames[static_cast<size_t>(i)]);
    if (detail::plain_op_name(names.back()) == detail::plain_op_name(name)) return static_cast<AugmentOp>(i);
  }
  fail("augment", "there is no operation '{}'; {}", name, known_names(std::string(name), names));
}

ATLAS_INLINE double op_argument(AugmentOp op, double magnitude, bool increasing, int sign) {
  const double m = magnitude / 10;
  const auto whole = [&](double most) { return std::floor(m * most); };
  switch (op) {
    case AugmentOp::rotate:
      return sign * m * 30;
    case AugmentOp::posterize:
      return std::max(0.0, increasing ? 4 - whole(4) : whole(4));
    case AugmentOp::solarize:
      return increasing ? 256 - std::min(256.0, whole(256)) : std::min(256.0, whole(256));
    case AugmentOp::solarize_add:
      return std::min(128.0, whole(110));
    case AugmentOp::color:
    case AugmentOp::contrast:
    case AugmentOp::brightness:
    case AugmentOp::sharpness:
      return increasing ? std::max(0.1, 1 + sign * m * 0.9) : m * 1.8 + 0.1;
    case AugmentOp::shear_x:
    case AugmentOp::shear_y:
      return sign * m * 0.3;
    case AugmentOp::translate_x:
    case AugmentOp::translate_y:
      return sign * m * 0.45;
    default:
      return 0;
  }
}

ATLAS_INLINE Geometry op_geometry(AugmentOp op, double argument, int64_t height, int64_t width, Interpolation mode,
                                  const std::array<double, 3>& fill) {
  check(moves_pixels(op), "augment", "{} moves no pixels", kAugmentOpNames[static_cast<size_t>(op)]);
  switch (op) {
    case AugmentOp::rotate:
      return Geometry::rotate(argument, height, width, mode, fill);
    case AugmentOp::shear_x:
      return Geometry::shear(argument, 0, mode, fill);
    case AugmentOp::shear_y:
      return Geometry::shear(0, argument, mode, fill);
    case AugmentOp::translate_x:
      return Geometry::translate(argument * static_cast<double>(width), 0, mode, fill);
    default:
      return Geometry::translate(0, argument * static_cast<double>(height), mode, fill);
  }
}

ATLAS_INLINE Tensor op_colors(AugmentOp op, double argument, const Tensor& image) {
  const Tensor x = as_image(image, "augment");
  check(x.dtype() == uint8 && x.size(2) == 3, "augment", "needs a uint8 image [H,W,3], before normalization, got {}",
        describe(x));
  const auto f = static_cast<float>(argument);
  const int n = static_cast<int>(argument);
  const auto per_channel = [&](detail::ByteTable (*table)(const std::array<int64_t, 256>&)) {
    const auto h = detail::histograms(x);
    return detail::looked_up(x, std::array{table(h[0]), table(h[1]), table(h[2])});
  };
  switch (op) {
    case AugmentOp::auto_contrast:
      return per_channel(detail::stretched);
    case AugmentOp::equalize:
      return per_channel(detail::flattened);
    case AugmentOp::invert:
      return detail::looked_up(x, detail::byte_table([](int i) { return 255 - i; }));
    case AugmentOp::posterize:
      return n >= 8 ? x : detail::looked_up(x, detail::byte_table([&](int i) { return i >> (8 - n) << (8 - n); }));
    case AugmentOp::solarize:
      return detail::looked_up(x, detail::byte_table([&](int i) { return i < n ? i : 255 - i; }));
    case AugmentOp::solarize_add:
      return detail::looked_up(x, detail::byte_table([&](int i) { return i < 128 ? i + n : i; }));
    case AugmentOp::color:
      return detail::colored_by(x, f);
    case AugmentOp::contrast:
      return detail::contrasted(x, f);
    case AugmentOp::brightness:
      return detail::looked_up(x, detail::byte_table([&](int i) { return detail::blended(0, i, f); }));
    case AugmentOp::sharpness:
      return detail::sharpened(x, f);
    default:
      fail("augment", "{} moves pixels: see op_geometry()", kAugmentOpNames[static_cast<size_t>(op)]);
  }
}

}  // namespace atlas::inline ATLAS_ABI::data
