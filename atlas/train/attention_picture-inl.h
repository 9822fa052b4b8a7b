// Bodies of attention_picture.h.
#pragma once

#include <fmt/core.h>

#include <array>
#include <map>

#include "atlas/autograd/node.h"
#include "atlas/data/canvas.h"
#include "atlas/data/transform.h"
#include "atlas/nn/attention.h"
#include "atlas/ops/reduce.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/print.h"
#include "atlas/train/attention_picture.h"
#include "atlas/train/diagnose.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

using data::Canvas;
using data::Color;

/// Frames of the scales, fine to coarse; apart for most color-blind readers too.
inline constexpr std::array<Color, 4> kScaleColors = {
    {{0x00, 0xA6, 0xFF}, {0xFF, 0x8C, 0x1A}, {0x3C, 0xD0, 0x70}, {0xE0, 0x5C, 0xD0}}};
inline constexpr Color kAsker{0xFF, 0x30, 0x30};

/// From black over violet and orange to light yellow, brighter with every step: v in [0, 1].
inline Color heat(double v) {
  constexpr std::array<std::array<double, 3>, 6> kStops = {
      {{0, 0, 4}, {66, 10, 104}, {147, 38, 103}, {221, 81, 58}, {252, 165, 10}, {252, 255, 164}}};
  const double at = std::clamp(v, 0.0, 1.0) * 5;
  const size_t i = std::min<size_t>(static_cast<size_t>(at), 4);
  const double part = at - static_cast<double>(i);
  const auto mix = [&](size_t c) {
    return static_cast<uint8_t>(std::lround(kStops[i][c] + part * (kStops[i + 1][c] - kStops[i][c])));
  };
  return {mix(0), mix(1), mix(2)};
}

/// Attention over a part of an image: one share for each token of a rectangle of tokens.
struct HeatMap {
  int64_t row = 0, column = 0, stride = 1;  // the first token, and pixels per token
  Tensor share;                             // float32 [h, w]
  double total() const {
    return reduce([](double a, double b) { return a + b; });
  }
  double most() const {
    return reduce([](double a, double b) { return std::max(a, b); });
  }

 private:
  template <class F>
  double reduce(const F& f) const {
    double v = 0;
    for (int64_t i = 0; i < share.numel(); ++i) v = f(v, static_cast<double>(share.data<float>()[i]));
    return v;
  }
};

/// One head's weights, or the mean of all.   [heads, h, w] -> [h, w]
inline Tensor of_head(const Tensor& weights, int64_t head) {
  check(head < weights.size(0), "attention_picture", "there is no head {}: the layer has {}, counted from 0", head,
        weights.size(0));
  return (head < 0 ? mean(weights, {0}) : weights.select(0, head)).contiguous();
}

/// A panel: what is drawn over the image, and the lines below it.
struct Panel {
  std::vector<HeatMap> maps;
  std::vector<size_t> scales;  // of each map, for the color of its frame
  bool filled = true;          // false: frames alone
  struct Line {
    std::string text;
    int scale = -1;  // of the colored square in front of it; -1: none
  };
  std::vector<Line> caption;
};

/// Draws panels of one image.
class PanelPainter {
 public:
  static constexpr int64_t kText = 2, kLine = 20, kBar = 14, kGap = 24;

  PanelPainter(const Tensor& image, int64_t longer_side, int64_t x, int64_t y) : image_(image), x_(x), y_(y) {
    const double longer = static_cast<double>(std::max(image.size(0), image.size(1)));
    zoom_ = static_cast<double>(longer_side) / longer;
    height_ = std::max<int64_t>(1, to_panel(image.size(0)));
    width_ = std::max<int64_t>(1, to_panel(image.size(1)));
    shown_ = data::resize_image(image, height_, width_, zoom_ > 1 ? Interpolation::nearest : Interpolation::bilinear);
  }
  int64_t width() const { return std::max<int64_t>(width_, 400); }
  int64_t height(size_t lines) const { return height_ + 10 + static_cast<int64_t>(lines) * kLine; }

  void draw(Canvas& c, int64_t left, int64_t top, const Panel& panel, int64_t stride) const {
    double most = 0;
    for (const HeatMap& m : panel.maps) most = std::max(most, m.most());
    if (panel.filled) fill(c, left, top, panel.maps, most);
    if (!panel.filled) c.paste(shown_, left, top);
    for (size_t i = panel.maps.size(); i-- > 0;) frame(c, left, top, panel.maps[i], panel.scales[i]);
    const int64_t x = x_ / stride * stride, y = y_ / stride * stride;
    box(c, left, top, x, y, stride, stride, data::kWhite, 3);
    box(c, left, top, x, y, stride, stride, kAsker, 2);
    caption(c, left, top + height_ + 10, panel, most);
  }

 private:
  void caption(Canvas& c, int64_t left, int64_t y, const Panel& panel, double most) const {
    if (panel.filled) {
      bar(c, left, y, most);
      y += kLine;
    }
    for (const Panel::Line& line : panel.caption) {
      if (line.scale >= 0)
        c.rectangle(left, y, kBar, kBar, kScaleColors[static_cast<size_t>(line.scale) % kScaleColors.size()]);
      c.text(left + (line.scale >= 0 ? kBar + 8 : 0), y, line.text, data::kBlack, kText);
      y += kLine;
    }
  }

  int64_t to_panel(int64_t pixels) const { return std::llround(static_cast<double>(pixels) * zoom_); }

  /// The image in gray and dark, with the attention's colors where there is any.
  void fill(Canvas& c, int64_t left, int64_t top, const std::vector<HeatMap>& maps, double most) const {
    const uint8_t* p = shown_.data<uint8_t>();
    for (int64_t y = 0; y < height_; ++y) {
      for (int64_t x = 0; x < width_; ++x, p += 3) {
        const double gray = 0.3 * p[0] + 0.59 * p[1] + 0.11 * p[2];
        const auto level = static_cast<uint8_t>(std::lround(40 + 0.55 * gray));
        c.blend(left + x, top + y, {level, level, level});
        const auto at = [&](int64_t v) { return static_cast<int64_t>((static_cast<double>(v) + 0.5) / zoom_); };
        for (const HeatMap& m : maps) {
          const int64_t row = at(y) / m.stride - m.row, column = at(x) / m.stride - m.column;
          if (row < 0 || column < 0 || row >= m.share.size(0) || column >= m.share.size(1)) continue;
          // The root lifts the many small shares out of the dark; the bar below is drawn the same way.
          const double v = most > 0 ? std::sqrt(static_cast<double>(m.share.at<float>({row, column})) / most) : 0;
          c.blend(left + x, top + y, heat(v), 0.2 + 0.5 * v);
        }
      }
    }
  }
  void box(Canvas& c, int64_t left, int64_t top, int64_t x, int64_t y, int64_t w, int64_t h, Color color,
           int64_t thickness) const {
    const int64_t x0 = std::clamp<int64_t>(to_panel(x), 0, width_), y0 = std::clamp<int64_t>(to_panel(y), 0, height_);
    const int64_t x1 = std::clamp<int64_t>(to_panel(x + w), x0, width_),
                  y1 = std::clamp<int64_t>(to_panel(y + h), y0, height_);
    // Small patches are framed from outside, so that they can still be seen.
    const int64_t out = x1 - x0 < 4 * thickness ? thickness : 0;
    c.frame(left + x0 - out, top + y0 - out, x1 - x0 + 2 * out, y1 - y0 + 2 * out, color, thickness);
  }
  void frame(Canvas& c, int64_t left, int64_t top, const HeatMap& m, size_t scale) const {
    box(c, left, top, m.column * m.stride, m.row * m.stride, m.share.size(1) * m.stride, m.share.size(0) * m.stride,
        kScaleColors[scale % kScaleColors.size()], 3);
  }
  /// The colors from nothing to the largest share, with both in numbers.
  void bar(Canvas& c, int64_t left, int64_t y, double most) const {
    const std::string low = "0 % ", high = fmt::format(" {:.3g} % per token", 100 * most);
    const int64_t from = left + Canvas::text_width(low, kText), length = 120;
    c.text(left, y, low, data::kBlack, kText);
    for (int64_t i = 0; i < length; ++i)
      c.rectangle(from + i, y, 1, kBar, heat(std::sqrt(static_cast<double>(i) / static_cast<double>(length - 1))));
    c.text(from + length, y, high, data::kBlack, kText);
  }

  Tensor image_, shown_;
  int64_t x_, y_, width_ = 0, height_ = 0;
  double zoom_ = 1;
};

/// A row of panels and its heading; `stride` is that of the patch that asks.
struct PanelRow {
  std::string heading;
  int64_t stride = 1;
  std::vector<Panel> panels;
};

inline HeatMap heat_map(const AttentionRead& read, int64_t head) {
  return {read.row, read.column, read.place.stride, of_head(read.weights, head)};
}
inline std::string window_text(const HeatMap& m) {
  return fmt::format("{} x {} tokens, {} px", m.share.size(0), m.share.size(1), m.stride);
}

/// The windows of every scale that the patch reads.
inline PanelRow row_across_scales(const AttentionRecord& record, const AttentionPictureOptions& o) {
  const int64_t stride = record.queries.stride;
  PanelRow row{{}, stride, {}};
  Panel all;
  all.filled = false;
  all.caption.push_back({"the patch (red) reads"});
  for (const AttentionRead& read : record.read_by(0, o.y / stride, o.x / stride)) {
    const HeatMap map = heat_map(read, o.head);
    const auto scale = static_cast<int>(read.place.scale);
    all.caption.push_back({fmt::format("scale {}: {}", scale, window_text(map)), scale});
    all.maps.push_back(map);
    all.scales.push_back(read.place.scale);
    Panel one;
    one.maps.push_back(map);
    one.scales.push_back(read.place.scale);
    one.caption = {{fmt::format("scale {}: {:.1f} % of the attention", scale, 100 * map.total()), scale}};
    row.panels.push_back(std::move(one));
  }
  row.panels.insert(row.panels.begin(), std::move(all));
  return row;
}

/// The patch's window, and what all patches read on average.
inline PanelRow row_of_window(const AttentionRecord& record, const AttentionPictureOptions& o) {
  const TokenPlace& q = record.queries;
  PanelRow row{{}, q.stride, {}};
  const HeatMap own = heat_map(record.read_by(0, o.y / q.stride, o.x / q.stride)[0], o.head);
  row.panels.push_back({{own}, {0}, true, {{"read by the patch (red)"}, {"window: " + window_text(own), 0}}});
  HeatMap all{0, 0, q.stride, zeros({q.layout.height, q.layout.width}, float32, Device{})};
  const double tokens = static_cast<double>(all.share.numel());
  for (int64_t r = 0; r < q.layout.height; ++r) {
    for (int64_t c = 0; c < q.layout.width; ++c) {
      const AttentionRead read = record.read_by(0, r, c)[0];
      const Tensor share = of_head(read.weights, o.head);
      for (int64_t i = 0; i < share.size(0); ++i)
        for (int64_t j = 0; j < share.size(1); ++j)
          all.share.at<float>({read.row + i, read.column + j}) +=
              static_cast<float>(static_cast<double>(share.at<float>({i, j})) / tokens);
    }
  }
  row.panels.push_back(
      {{all}, {1}, true, {{"read by all patches, on average"}, {"whole map: " + window_text(all), 1}}});
  return row;
}

inline Tensor paint_rows(const std::vector<PanelRow>& rows, const PanelPainter& painter, const std::string& title,
                         const std::string& legend) {
  constexpr int64_t kGap = PanelPainter::kGap, kHead = 84, kHeading = 28;
  size_t columns = 0, lines = 0;
  for (const PanelRow& row : rows) {
    columns = std::max(columns, row.panels.size());
    for (const Panel& p : row.panels) lines = std::max(lines, p.caption.size() + (p.filled ? 1 : 0));
  }
  const int64_t step = kHeading + painter.height(lines) + kGap;
  const int64_t width = std::max({static_cast<int64_t>(columns) * (painter.width() + kGap) + kGap,
                                  Canvas::text_width(title, 3) + 2 * kGap, Canvas::text_width(legend, 2) + 2 * kGap});
  Canvas c(width, kHead + static_cast<int64_t>(rows.size()) * step);
  c.text(kGap, 16, title, data::kBlack, 3);
  c.text(kGap, 50, legend, data::kGray, 2);
  for (size_t r = 0; r < rows.size(); ++r) {
    const int64_t top = kHead + static_cast<int64_t>(r) * step;
    c.text(kGap, top + 4, rows[r].heading, data::kBlack, 2);
    for (size_t i = 0; i < rows[r].panels.size(); ++i)
      painter.draw(c, kGap + static_cast<int64_t>(i) * (painter.width() + kGap), top + kHeading, rows[r].panels[i],
                   rows[r].stride);
  }
  return c.image();
}

}  // namespace detail

ATLAS_INLINE Tensor attention_picture(models::Classifier& model, const Tensor& input, const Tensor& image,
                                      const AttentionPictureOptions& options) {
  constexpr const char* op = "attention_picture";
  check(input.dim() == 3 && image.dim() == 3 && image.dtype() == uint8 && input.size(0) == image.size(0) &&
            input.size(1) == image.size(1),
        op, "needs the model's and people's view of one image in the same size, got {} and {}", describe(input),
        describe(image));
  AttentionPictureOptions o = options;
  const int64_t height = image.size(0), width = image.size(1);
  if (o.x < 0) o.x = width / 2;
  if (o.y < 0) o.y = height / 2;
  check(o.x < width && o.y < height, op, "the point {},{} is outside the image of {} x {} pixels", o.x, o.y, width,
        height);
  const std::vector<models::AttentionLayer> layers = model.backbone().attention_layers();
  check(!layers.empty(), op, "this model has no attention layers");
  std::map<std::string, models::AttentionLayer> wanted;  // layers to show, by path
  int64_t last = 0;
  for (const models::AttentionLayer& layer : layers) {
    last = std::max(last, layer.number);
    if (o.block < 0 ? layer.by_default : layer.number == o.block) wanted[layer.path] = layer;
  }
  check(!wanted.empty(), op, "there is no block {}: attention layers are counted from 0 to {}", o.block, last);

  const NoGrad off;
  AttentionRecorder recorder(model, [&](const std::string& layer) { return wanted.contains(layer); });
  const Tensor batch = input.unsqueeze(0).to(model.device());
  require_finite(model, batch, model(batch));
  std::vector<detail::PanelRow> rows;
  for (const AttentionRecord& record : recorder.records()) {
    if (record.pass == "up") continue;
    const models::AttentionLayer& layer = wanted.at(record.layer);
    rows.push_back(layer.across_scales ? detail::row_across_scales(record, o) : detail::row_of_window(record, o));
    rows.back().heading = fmt::format("{}  ({})", layer.name, layer.path);
  }
  const std::string title =
      fmt::format("{}, {} x {} px: patch at {},{}", o.name.empty() ? model.family() : o.name, width, height, o.x, o.y);
  const std::string legend = (o.head < 0 ? "mean of all heads" : fmt::format("head {}", o.head)) +
                             "; red: the patch; other frames: windows; brighter: more";
  return detail::paint_rows(rows, detail::PanelPainter(image, o.panel, o.x, o.y), title, legend);
}

}  // namespace atlas::inline ATLAS_ABI::train
