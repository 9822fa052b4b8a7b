// Bodies of plot.h.
#pragma once

#include <fmt/core.h>

#include <array>

#include "atlas/data/plot.h"
#include "atlas/data/ticks.h"
#include "atlas/data/transform.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// Colors that stay apart for most color-blind readers too.
inline constexpr std::array<Color, 8> kSeriesColors = {{{0x1F, 0x77, 0xB4},
                                                        {0xE6, 0x6F, 0x1B},
                                                        {0x2B, 0x8A, 0x3E},
                                                        {0xB0, 0x2A, 0x5B},
                                                        {0x6F, 0x5B, 0xC4},
                                                        {0x7A, 0x4B, 0x2C},
                                                        {0x12, 0x9D, 0x9D},
                                                        {0x60, 0x66, 0x6C}}};

/// A text cut to `width` pixels, with dots where something is missing.
inline std::string fitted(const std::string& text, int64_t width, int64_t scale) {
  const int64_t most = (width / scale + 1) / (kGlyphWidth + 1);
  if (static_cast<int64_t>(text.size()) <= most) return text;
  return most <= 2 ? std::string() : text.substr(0, static_cast<size_t>(most - 2)) + "..";
}

}  // namespace detail

ATLAS_INLINE Extent extent_of(const std::vector<Series>& series, std::string_view op) {
  Extent e{HUGE_VAL, -HUGE_VAL, HUGE_VAL, -HUGE_VAL};
  for (const Series& s : series) {
    check(s.x.size() == s.y.size(), op, "series {} has {} x values and {} y values", s.name, s.x.size(), s.y.size());
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!std::isfinite(s.x[i]) || !std::isfinite(s.y[i])) continue;
      e = {std::min(e.x_low, s.x[i]), std::max(e.x_high, s.x[i]), std::min(e.y_low, s.y[i]),
           std::max(e.y_high, s.y[i])};
    }
  }
  return e.x_low <= e.x_high ? e : Extent{0, 1, 0, 1};
}

ATLAS_INLINE Tensor line_chart(const std::vector<Series>& series, const ChartOptions& o) {
  check(o.width >= 200 && o.height >= 150, "line_chart", "needs at least 200 x 150 pixels, got {} x {}", o.width,
        o.height);
  auto [x_low, x_high, y_low, y_high] = extent_of(series, "line_chart");
  if (std::isfinite(o.y_min)) y_low = o.y_min;
  if (std::isfinite(o.y_max)) y_high = o.y_max;
  const Ticks x_ticks(x_low, x_high, static_cast<int>(o.width / 110), false);
  const Ticks y_ticks(y_low, y_high, static_cast<int>(o.height / 70), true);

  constexpr int64_t kText = 2, kLetter = (kGlyphWidth + 1) * kText, kLine = 7 * kText;
  size_t widest = 4;  // charts above one another get equal margins
  for (const double v : y_ticks.values()) widest = std::max(widest, y_ticks.label(v).size());
  const int64_t left = 16 + (o.y_label.empty() ? 0 : kLine + 14) + static_cast<int64_t>(widest) * kLetter + 8;
  const int64_t right = 28, top = o.title.empty() ? 20 : 48,
                bottom = 16 + kLine + 10 + (o.x_label.empty() ? 0 : kLine + 10);
  const int64_t w = std::max<int64_t>(o.width - left - right, 10), h = std::max<int64_t>(o.height - top - bottom, 10);
  const auto px = [&](double v) {
    return static_cast<double>(left) + (v - x_ticks.low) / (x_ticks.high - x_ticks.low) * static_cast<double>(w);
  };
  const auto py = [&](double v) {
    return static_cast<double>(top) + (y_ticks.high - v) / (y_ticks.high - y_ticks.low) * static_cast<double>(h);
  };

  Canvas c(o.width, o.height);
  const auto centered = [&](const std::string& text, int64_t middle, int64_t y, Color color) {
    c.text(middle - Canvas::text_width(text, kText) / 2, y, text, color, kText);
  };
  for (const double v : y_ticks.values()) {
    const int64_t y = std::llround(py(v));
    c.rectangle(left, y, w, 1, kLightGray);
    const std::string text = y_ticks.label(v);
    c.text(left - 8 - Canvas::text_width(text, kText), y - kLine / 2, text, kBlack, kText);
  }
  for (const double v : x_ticks.values()) {
    const int64_t x = std::llround(px(v));
    c.rectangle(x, top, 1, h, kLightGray);
    c.rectangle(x, top + h, 1, 5, kGray);
    centered(x_ticks.label(v), x, top + h + 10, kBlack);
  }
  c.frame(left, top, w + 1, h + 1, kGray);
  centered(detail::fitted(o.title, o.width - 20, kText), o.width / 2, 18, kBlack);
  centered(o.x_label, left + w / 2, o.height - 12 - kLine, kBlack);
  c.text_upwards(16, top + h / 2 + Canvas::text_width(o.y_label, kText) / 2, o.y_label, kBlack, kText);

  // Curves are drawn on a canvas of their own, so that those which leave the frame (y_min, y_max given) are cut off
  // with it. It is a little larger than the frame: dots on the frame stay whole.
  constexpr int64_t kRim = 5;
  Canvas inner(w + 2 * kRim, h + 2 * kRim);
  inner.paste(crop(c.image(), top - kRim, left - kRim, inner.height(), inner.width()), 0, 0);
  for (size_t k = 0; k < series.size(); ++k) {
    const Series& s = series[k];
    const Color color = detail::kSeriesColors[k % detail::kSeriesColors.size()];
    bool joined = false;
    double last_x = 0, last_y = 0;
    for (size_t i = 0; i < s.x.size(); ++i) {
      const double x = px(s.x[i]) - static_cast<double>(left - kRim), y = py(s.y[i]) - static_cast<double>(top - kRim);
      if (!std::isfinite(x) || !std::isfinite(y)) {
        joined = false;
        continue;
      }
      if (joined) inner.line(last_x, last_y, x, y, color, 2.2);
      if (s.dots || s.x.size() == 1) inner.dot(x, y, 4, color);
      joined = true;
      last_x = x;
      last_y = y;
    }
  }
  c.paste(inner.image(), left - kRim, top - kRim);

  // The legend goes to the corner with fewer points under it.
  int64_t box_w = 0, entries = 0;
  for (const Series& s : series) {
    if (s.name.empty()) continue;
    ++entries;
    box_w = std::max(box_w, 52 + Canvas::text_width(s.name, kText));
  }
  if (entries == 0) return c.image();
  const int64_t box_h = entries * (kLine + 10) + 8;
  std::array<int64_t, 4> points{};
  const auto corner = [&](size_t i) {
    return std::pair<int64_t, int64_t>{i % 2 == 0 ? left + w - box_w - 12 : left + 12,
                                       i < 2 ? top + 12 : top + h - box_h - 12};
  };
  for (const Series& s : series) {
    for (size_t i = 0; i < s.x.size(); ++i) {
      for (size_t k = 0; k < 4; ++k) {
        const auto [bx, by] = corner(k);
        const double x = px(s.x[i]) - static_cast<double>(bx), y = py(s.y[i]) - static_cast<double>(by);
        if (x > -8 && y > -8 && x < static_cast<double>(box_w + 8) && y < static_cast<double>(box_h + 8)) ++points[k];
      }
    }
  }
  const auto [bx, by] = corner(static_cast<size_t>(std::min_element(points.begin(), points.end()) - points.begin()));
  c.rectangle(bx, by, box_w, box_h, kWhite);
  c.frame(bx, by, box_w, box_h, kGray);
  int64_t y = by + 10;
  for (size_t k = 0; k < series.size(); ++k) {
    if (series[k].name.empty()) continue;
    c.rectangle(bx + 10, y + kLine / 2 - 2, 24, 4, detail::kSeriesColors[k % detail::kSeriesColors.size()]);
    c.text(bx + 42, y, series[k].name, kBlack, kText);
    y += kLine + 10;
  }
  return c.image();
}

ATLAS_INLINE Tensor stack_pictures(const std::vector<Tensor>& pictures) {
  check(!pictures.empty(), "stack_pictures", "needs at least one picture");
  int64_t width = 0, height = 0;
  for (const Tensor& p : pictures) {
    const Tensor x = as_image(p, "stack_pictures");
    width = std::max(width, x.shape()[1]);
    height += x.shape()[0];
  }
  Canvas c(width, height);
  int64_t y = 0;
  for (const Tensor& p : pictures) {
    c.paste(as_image(p, "stack_pictures"), 0, y);
    y += p.shape()[0];
  }
  return c.image();
}

ATLAS_INLINE Tensor enlarged(const Tensor& image, int64_t factor) {
  const Tensor x = as_image(image, "enlarged");
  check(x.dtype() == uint8 && x.shape()[2] == 3, "enlarged", "needs a uint8 image [H,W,3], got {}", describe(image));
  check(factor >= 1 && factor <= 1024, "enlarged", "factor must lie in 1..1024, got {}", factor);
  const int64_t h = x.shape()[0], w = x.shape()[1];
  Tensor y = empty({h * factor, w * factor, 3}, uint8, Device{});
  uint8_t* to = y.data<uint8_t>();
  for (int64_t row = 0; row < h * factor; ++row) {
    const uint8_t* from = x.data<uint8_t>() + row / factor * w * 3;
    for (int64_t i = 0; i < w * factor; ++i, to += 3) std::copy_n(from + i / factor * 3, 3, to);
  }
  return y;
}

ATLAS_INLINE Tile prediction_tile(const Tensor& image, const std::string& truth, const std::string& predicted) {
  return {image, {"true: " + truth, "pred: " + predicted}, truth != predicted};
}

ATLAS_INLINE Tensor contact_sheet(const std::vector<Tile>& tiles, int64_t columns, const std::string& title,
                                  int64_t cell) {
  check(!tiles.empty() && columns >= 1, "contact_sheet", "needs at least one tile and one column, got {} and {}",
        tiles.size(), columns);
  check(cell >= 16 && cell <= 2048, "contact_sheet", "cell must lie in 16..2048 pixels, got {}", cell);
  constexpr int64_t kGap = 14, kLine = 12;
  size_t lines = 0;
  for (const Tile& t : tiles) lines = std::max(lines, t.caption.size());
  const int64_t count = static_cast<int64_t>(tiles.size()), across = std::min(columns, count);
  const int64_t rows = (count + across - 1) / across, head = title.empty() ? 0 : 36;
  const int64_t step_x = cell + kGap, step_y = cell + kGap + static_cast<int64_t>(lines) * kLine + 4;
  Canvas c(across * step_x + kGap, rows * step_y + kGap + head);
  c.text(kGap, kGap, detail::fitted(title, c.width() - 2 * kGap, 2), kBlack, 2);
  for (int64_t i = 0; i < count; ++i) {
    const Tile& tile = tiles[static_cast<size_t>(i)];
    Tensor image = as_image(tile.image, "contact_sheet");
    const int64_t longer = std::max(image.shape()[0], image.shape()[1]);
    // Whole factors keep pixels crisp; where they would leave much of the cell empty, the image is resized to fill it.
    if (const int64_t factor = cell / longer; factor * longer * 5 >= cell * 4) {
      image = enlarged(image, factor);
    } else {
      const auto scaled = [&](int64_t n) { return std::max<int64_t>(1, n * cell / longer); };
      image = resize_image(image, scaled(image.shape()[0]), scaled(image.shape()[1]), Interpolation::bilinear);
    }
    const int64_t x = kGap + i % across * step_x, y = head + kGap + i / across * step_y;
    const int64_t at_x = x + (cell - image.shape()[1]) / 2, at_y = y + (cell - image.shape()[0]) / 2;
    c.paste(image, at_x, at_y);
    if (tile.marked) c.frame(at_x - 3, at_y - 3, image.shape()[1] + 6, image.shape()[0] + 6, kRed, 3);
    for (size_t k = 0; k < tile.caption.size(); ++k) {
      const std::string text = detail::fitted(tile.caption[k], cell + kGap - 4, 1);
      c.text(x + (cell - Canvas::text_width(text)) / 2, y + cell + 6 + static_cast<int64_t>(k) * kLine, text,
             tile.marked ? kRed : kBlack);
    }
  }
  return c.image();
}

}  // namespace atlas::inline ATLAS_ABI::data
