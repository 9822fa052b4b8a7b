// A picture whose four quarters have four colors, and orientations for it: shared by tests of pictures.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "atlas/tensor/tensor.h"
#include "tests/data/encode.h"

namespace atlas_test {

using atlas::Tensor;

inline std::array<int, 3> pixel(const Tensor& t, int64_t y, int64_t x) {
  return {t.at<uint8_t>({y, x, 0}), t.at<uint8_t>({y, x, 1}), t.at<uint8_t>({y, x, 2})};
}

/// 32 wide, 16 high; quarters red, green / blue, white. JPEG keeps their middles almost exactly.
inline Bytes quarters_jpeg() {
  std::vector<uint8_t> rgb;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 32; ++x) {
      const bool bottom = y >= 8, right = x >= 16;
      for (const bool on : {bottom == right, right, bottom}) rgb.push_back(on ? 255 : 0);
    }
  }
  return jpeg(32, 16, rgb);
}

/// 'r', 'g', 'b', 'w' for the quarter colors (bottom == right gives red on, so top left is red, bottom right white).
inline char color_at(const Tensor& t, int64_t y, int64_t x) {
  const auto p = pixel(t, y, x);
  const bool r = p[0] > 128, g = p[1] > 128, b = p[2] > 128;
  return r && g && b ? 'w' : r ? 'r' : g ? 'g' : b ? 'b' : '?';
}

inline std::string corners(const Tensor& t) {
  const int64_t h = t.shape()[0], w = t.shape()[1];
  return {color_at(t, 3, 3), color_at(t, 3, w - 4), color_at(t, h - 4, 3), color_at(t, h - 4, w - 4)};
}

/// The segment of EXIF data with one orientation entry.
inline Bytes exif(bool little, uint16_t tag, uint16_t type, uint16_t value, uint32_t directory = 8,
                  uint16_t entries = 1) {
  Bytes e = {'E', 'x', 'i', 'f', 0, 0};
  const auto put = [&](uint32_t v, int bytes) {
    for (int i = 0; i < bytes; ++i) e.push_back(static_cast<uint8_t>(v >> (8 * (little ? i : bytes - 1 - i))));
  };
  e.insert(e.end(), 2, little ? 'I' : 'M');
  put(42, 2);
  put(directory, 4);
  put(entries, 2);
  put(tag, 2);
  put(type, 2);
  put(1, 4);
  put(value, type == 4 || type == 9 ? 4 : type == 1 || type == 6 ? 1 : 2);
  e.resize(28);
  return e;
}

inline Bytes with_segment(const Bytes& file, const Bytes& body) {
  Bytes out(file.begin(), file.begin() + 2);
  const size_t length = body.size() + 2;
  out.insert(out.end(), {0xFF, 0xE1, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)});
  out.insert(out.end(), body.begin(), body.end());
  out.insert(out.end(), file.begin() + 2, file.end());
  return out;
}

}  // namespace atlas_test
