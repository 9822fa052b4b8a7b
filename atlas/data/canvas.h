// A canvas to draw on: pixels, rectangles, smooth lines and text, into a uint8 RGB tensor.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "atlas/data/font.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

struct Color {
  uint8_t r = 0, g = 0, b = 0;
};
inline constexpr Color kBlack{33, 37, 41}, kWhite{255, 255, 255}, kGray{134, 142, 150}, kLightGray{229, 232, 236},
    kRed{201, 42, 42};

/// Draws on an image. Everything is cut off at the borders. (0, 0) is the top left corner.
class Canvas {
 public:
  Canvas(int64_t width, int64_t height, Color background = kWhite) : width_(width), height_(height) {
    check(width > 0 && height > 0 && width <= 32768 && height <= 32768, "canvas",
          "needs a size in 1..32768, got {} x {}", width, height);
    image_ = empty({height, width, 3}, uint8, Device{});
    rectangle(0, 0, width, height, background);
  }
  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  /// What has been drawn: uint8 [height,width,3], sharing memory with the canvas.
  const Tensor& image() const { return image_; }

  /// Lays `color` over a pixel, `cover` in [0, 1].
  void blend(int64_t x, int64_t y, Color color, double cover = 1) {
    if (x < 0 || y < 0 || x >= width_ || y >= height_ || cover <= 0) return;
    uint8_t* p = image_.data<uint8_t>() + (y * width_ + x) * 3;
    const auto mix = [a = std::min(cover, 1.0)](uint8_t from, uint8_t to) {
      return static_cast<uint8_t>(std::lround((1 - a) * static_cast<double>(from) + a * static_cast<double>(to)));
    };
    p[0] = mix(p[0], color.r);
    p[1] = mix(p[1], color.g);
    p[2] = mix(p[2], color.b);
  }
  /// Fills a rectangle.
  void rectangle(int64_t x, int64_t y, int64_t width, int64_t height, Color color) {
    const int64_t x0 = std::clamp<int64_t>(x, 0, width_), x1 = std::clamp<int64_t>(x + width, x0, width_);
    const int64_t y0 = std::clamp<int64_t>(y, 0, height_), y1 = std::clamp<int64_t>(y + height, y0, height_);
    for (int64_t row = y0; row < y1; ++row) {
      uint8_t* p = image_.data<uint8_t>() + (row * width_ + x0) * 3;
      for (int64_t i = x0; i < x1; ++i, p += 3) {
        p[0] = color.r;
        p[1] = color.g;
        p[2] = color.b;
      }
    }
  }
  /// The outline of a rectangle, `thickness` pixels wide inwards.
  void frame(int64_t x, int64_t y, int64_t width, int64_t height, Color color, int64_t thickness = 1) {
    rectangle(x, y, width, thickness, color);
    rectangle(x, y + height - thickness, width, thickness, color);
    rectangle(x, y, thickness, height, color);
    rectangle(x + width - thickness, y, thickness, height, color);
  }
  /// A smooth line of `thickness` pixels with round ends; pixel centers are at half-integers.
  void line(double x0, double y0, double x1, double y1, Color color, double thickness = 1.5);
  /// A filled smooth circle.
  void dot(double x, double y, double radius, Color color) { line(x, y, x, y, color, 2 * radius); }
  /// Puts a uint8 [H,W,3] image at (x, y).
  void paste(const Tensor& image, int64_t x, int64_t y);
  /// Text whose first letter has its top left corner at (x, y); letters are 5 x 7 dots of `scale` pixels.
  /// Characters outside printable ASCII show as '?'.
  void text(int64_t x, int64_t y, std::string_view text, Color color = kBlack, int64_t scale = 1);
  /// Text that reads upwards; (x, y) is the bottom left corner of its first letter's box.
  void text_upwards(int64_t x, int64_t y, std::string_view text, Color color = kBlack, int64_t scale = 1);
  /// Width of a text in pixels.
  static int64_t text_width(std::string_view text, int64_t scale = 1) {
    return text.empty() ? 0 : (static_cast<int64_t>(text.size()) * (kGlyphWidth + 1) - 1) * scale;
  }

 private:
  int64_t width_, height_;
  Tensor image_;
};

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/canvas-inl.h"
#endif
