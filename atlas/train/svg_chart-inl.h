// Bodies of report_page.h that draw.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "atlas/data/plot.h"
#include "atlas/data/ticks.h"
#include "atlas/train/report_page.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE std::string svg_chart(const std::vector<data::Series>& series, const std::string& description,
                                   bool percent) {
  // Charts lie in columns of 360 to 700 pixels: in units of this width letters stay readable in all of them.
  constexpr double kWidth = 460, kHeight = 250, kRight = 14, kTop = 10, kBottom = 30, kLetter = 7;
  constexpr size_t kMostDots = 60;
  auto [x_low, x_high, y_low, y_high] = data::extent_of(series, "svg_chart");
  if (percent && y_low == y_high) y_low = std::max(0.0, y_low - 10), y_high = std::min(100.0, y_high + 10);
  const data::Ticks xs(x_low, x_high, 6, false), ys(y_low, y_high, 5, true);
  size_t widest = 3;
  for (const double v : ys.values()) widest = std::max(widest, ys.label(v).size());
  const double left = kLetter * static_cast<double>(widest) + 10;
  const auto px = [&](double v) { return left + (v - xs.low) / (xs.high - xs.low) * (kWidth - kRight - left); };
  const auto py = [&](double v) { return kTop + (ys.high - v) / (ys.high - ys.low) * (kHeight - kTop - kBottom); };
  std::string svg = fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">)", kWidth, kHeight,
                                html_escaped(description));
  for (const double v : ys.values())
    svg += fmt::format(R"(<path class="grid" d="M{:.1f} {:.1f}H{}"/><text class="y" x="{:.1f}" y="{:.1f}">{}</text>)",
                       left, py(v), kWidth - kRight, left - 6, py(v) + 4, ys.label(v));
  for (const double v : xs.values())
    if (v == std::round(v))  // there is no half epoch
      svg +=
          fmt::format(R"(<text class="x" x="{:.1f}" y="{}">{}</text>)", px(v), kHeight - 10, static_cast<int64_t>(v));
  for (size_t k = 0; k < series.size(); ++k) {
    const data::Series& s = series[k];
    std::string path, dots;
    bool drawing = false;
    for (size_t i = 0; i < s.x.size(); ++i) {
      const bool there = std::isfinite(s.x[i]) && std::isfinite(s.y[i]);
      if (there) path += fmt::format("{}{:.1f} {:.1f}", drawing ? "L" : "M", px(s.x[i]), py(s.y[i]));
      drawing = there;
      if (there && s.x.size() <= kMostDots)
        dots += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3"><title>{} {}: {:.5g}</title></circle>)",
                            px(s.x[i]), py(s.y[i]), html_escaped(s.name), s.x[i], s.y[i]);
    }
    svg += fmt::format(R"(<g class="s{}"><path class="line" d="{}"/>{}</g>)", k, path, dots);
  }
  return svg + "</svg>";
}

}  // namespace atlas::inline ATLAS_ABI::train
