// Bodies of canvas.h.
#pragma once

#include "atlas/data/canvas.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE void Canvas::line(double x0, double y0, double x1, double y1, Color color, double thickness) {
  if (!(std::isfinite(x0) && std::isfinite(y0) && std::isfinite(x1) && std::isfinite(y1))) return;
  const double dx = x1 - x0, dy = y1 - y0, length2 = dx * dx + dy * dy, reach = thickness / 2 + 1;
  // Each row's pixels near the segment get the share that the line covers: 1 inside, falling to 0 over one pixel.
  const auto first = [](double v, int64_t most) {
    return static_cast<int64_t>(std::clamp(std::floor(v), 0.0, static_cast<double>(most)));
  };
  const int64_t top = first(std::min(y0, y1) - reach, height_), bottom = first(std::max(y0, y1) + reach + 1, height_);
  for (int64_t y = top; y < bottom; ++y) {
    const double cy = static_cast<double>(y) + 0.5;
    // The part of the segment within reach of this row bounds the columns to look at.
    double a = 0, b = 1;
    if (dy != 0) {
      const double s = (cy - reach - y0) / dy, t = (cy + reach - y0) / dy;
      a = std::clamp(std::min(s, t), 0.0, 1.0);
      b = std::clamp(std::max(s, t), 0.0, 1.0);
    }
    const double from = std::min(x0 + a * dx, x0 + b * dx), to = std::max(x0 + a * dx, x0 + b * dx);
    const int64_t left = first(from - reach, width_), right = first(to + reach + 1, width_);
    for (int64_t x = left; x < right; ++x) {
      const double cx = static_cast<double>(x) + 0.5;
      const double t = length2 > 0 ? std::clamp(((cx - x0) * dx + (cy - y0) * dy) / length2, 0.0, 1.0) : 0.0;
      blend(x, y, color, thickness / 2 + 0.5 - std::hypot(cx - x0 - t * dx, cy - y0 - t * dy));
    }
  }
}

ATLAS_INLINE void Canvas::paste(const Tensor& image, int64_t x, int64_t y) {
  check(image.defined() && image.dim() == 3 && image.dtype() == uint8 && image.shape()[2] == 3 && image.is_contiguous(),
        "paste", "needs a contiguous uint8 image [H,W,3], got {}", describe(image));
  const int64_t h = image.shape()[0], w = image.shape()[1];
  const int64_t left = std::clamp<int64_t>(x, 0, width_), right = std::clamp<int64_t>(x + w, left, width_);
  for (int64_t row = std::max<int64_t>(y, 0); row < std::min(y + h, height_); ++row)
    std::copy_n(image.data<uint8_t>() + ((row - y) * w + left - x) * 3, (right - left) * 3,
                image_.data<uint8_t>() + (row * width_ + left) * 3);
}

ATLAS_INLINE void Canvas::text(int64_t x, int64_t y, std::string_view text, Color color, int64_t scale) {
  for (const char c : text) {
    for (int64_t row = 0; row < kGlyphHeight; ++row)
      for (int64_t column = 0; column < kGlyphWidth; ++column)
        if (glyph_dot(c, column, row)) rectangle(x + column * scale, y + row * scale, scale, scale, color);
    x += (kGlyphWidth + 1) * scale;
  }
}

ATLAS_INLINE void Canvas::text_upwards(int64_t x, int64_t y, std::string_view text, Color color, int64_t scale) {
  for (const char c : text) {
    for (int64_t row = 0; row < kGlyphHeight; ++row)
      for (int64_t column = 0; column < kGlyphWidth; ++column)
        if (glyph_dot(c, column, row)) rectangle(x + row * scale, y - (column + 1) * scale, scale, scale, color);
    y -= (kGlyphWidth + 1) * scale;
  }
}

}  // namespace atlas::inline ATLAS_ABI::data
