// Bodies of class_picture.h.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "atlas/data/class_picture.h"
#include "atlas/data/pixels.h"
#include "atlas/data/plot.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE Color class_color(int64_t index, bool background_first) {
  if (background_first && index == 0) return {60, 66, 72};
  const auto i = static_cast<double>(index - (background_first ? 1 : 0));
  // Steps of the golden ratio around the circle of hues never come close to an earlier one for long; lightness takes
  // turns.
  const double hue = std::fmod(0.58 + 0.61803398875 * i, 1.0) * 6, strong = index % 3 == 2 ? 0.55 : 0.85,
               value = index % 2 == 0 ? 0.95 : 0.8;
  const auto channel = [&](double shift) {
    const double k = std::fmod(hue + shift, 6.0), v = std::clamp(std::min(k, 4 - k), 0.0, 1.0);
    return static_cast<uint8_t>(std::lround(255 * value * (1 - strong * v)));
  };
  return {channel(5), channel(3), channel(1)};
}

ATLAS_INLINE bool has_background(const std::vector<std::string>& classes) {
  if (classes.empty()) return false;
  const std::string& c = classes[0];
  return c == "background" || c == "other" || c == "unlabeled" || c == "void" || c == "_background_";
}

ATLAS_INLINE std::vector<Color> class_colors(const std::vector<std::string>& classes) {
  std::vector<Color> colors;
  for (int64_t i = 0; i < std::ssize(classes); ++i) colors.push_back(class_color(i, has_background(classes)));
  return colors;
}

namespace detail {
/// Class numbers of any size as [height, width].
inline Tensor sized(const Tensor& map, int64_t height, int64_t width) {
  check(map.defined() && map.dim() == 2 && (map.dtype() == uint8 || map.dtype() == int64), "class picture",
        "needs a class map, uint8 or int64 [H, W], got {}", describe(map));
  const Tensor x = map.contiguous();
  return x.size(0) == height && x.size(1) == width ? x : nearest_pixels(x, height, width);
}
inline int64_t class_at(const Tensor& map, int64_t i) {
  return map.dtype() == uint8 ? map.data<uint8_t>()[i] : map.data<int64_t>()[i];
}
/// Where prediction and truth differ; the rest of the photograph pales.
inline Tensor mistakes(const Tensor& photo, const Tensor& truth, const Tensor& prediction, int64_t ignored) {
  Tensor y = empty(photo.shape(), uint8, Device{});
  for (int64_t i = 0; i < truth.numel(); ++i) {
    const uint8_t* p = photo.data<uint8_t>() + 3 * i;
    uint8_t* to = y.data<uint8_t>() + 3 * i;
    const int64_t t = class_at(truth, i);
    const int pale = 130 + (p[0] * 77 + p[1] * 150 + p[2] * 29) / 512;
    const bool wrong = t != ignored && t != class_at(prediction, i);
    const auto gray = static_cast<uint8_t>(t == ignored ? 110 : std::min(pale, 255));
    to[0] = wrong ? kRed.r : gray;
    to[1] = wrong ? kRed.g : gray;
    to[2] = wrong ? kRed.b : gray;
  }
  return y;
}
}  // namespace detail

ATLAS_INLINE Tensor colored(const Tensor& map, const std::vector<Color>& colors, const Tensor& photo, double cover) {
  check(map.defined() && map.dim() == 2, "colored", "needs a class map [H, W], got {}", describe(map));
  check(cover >= 0 && cover <= 1, "colored", "cover must lie in [0, 1], got {}", cover);
  const int64_t height = map.size(0), width = map.size(1);
  const Tensor x = detail::sized(map, height, width);
  const bool over = photo.defined();
  const Tensor below = over ? as_image(photo, "colored") : Tensor();
  check(!over || (below.dtype() == uint8 && below.shape() == Shape{height, width, 3}), "colored",
        "needs a photograph uint8[{},{},3] for a map of that size, got {}", height, width, describe(photo));
  Tensor y = empty({height, width, 3}, uint8, Device{});
  const double share = over ? cover : 1;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t c = detail::class_at(x, i);
    const bool known = c >= 0 && c < std::ssize(colors);
    const Color color = known ? colors[static_cast<size_t>(c)] : kGray;
    const std::array<uint8_t, 3> paint = {color.r, color.g, color.b};
    for (size_t k = 0; k < 3; ++k) {
      const double under = over ? below.data<uint8_t>()[3 * i + static_cast<int64_t>(k)] : 0;
      const double s = known || !over ? share : 0;
      y.data<uint8_t>()[3 * i + static_cast<int64_t>(k)] =
          static_cast<uint8_t>(std::lround((1 - s) * under + s * static_cast<double>(paint[k])));
    }
  }
  return y;
}

ATLAS_INLINE Tensor legend(const std::vector<LegendEntry>& entries, int64_t width) {
  constexpr int64_t kBox = 12, kGap = 10, kLine = 20;
  const auto wide = [](const LegendEntry& e) { return kBox + 6 + Canvas::text_width(e.text) + 2 * kGap; };
  int64_t x = kGap, lines = 1;
  for (const LegendEntry& e : entries) {
    if (x > kGap && x + wide(e) > width) x = kGap, ++lines;
    x += wide(e);
  }
  Canvas c(width, lines * kLine + 8);
  x = kGap;
  int64_t y = 4;
  for (const LegendEntry& e : entries) {
    if (x > kGap && x + wide(e) > width) x = kGap, y += kLine;
    c.rectangle(x, y + 4, kBox, kBox, e.color);
    c.frame(x, y + 4, kBox, kBox, kGray);
    c.text(x + kBox + 6, y + 7, e.text);
    x += wide(e);
  }
  return c.image();
}

ATLAS_INLINE Tensor class_sheet(const std::vector<ClassPicture>& rows, const std::vector<std::string>& classes,
                                const std::string& title, int64_t cell) {
  check(!rows.empty() && cell >= 16 && cell <= 2048, "class_sheet",
        "needs a row and cells of 16..2048 pixels, got {} and {}", rows.size(), cell);
  constexpr int64_t kGap = 8;
  const int64_t width = 4 * cell + 5 * kGap;
  const std::vector<Color> colors = class_colors(classes);
  std::vector<bool> occurs(classes.size());
  std::vector<Tensor> parts;
  Canvas head(width, 52);
  const int64_t fits = (width - 2 * kGap + 2) / 12;
  head.text(kGap, 8, std::string_view(title).substr(0, static_cast<size_t>(fits)), kBlack, 2);
  const std::array<const char*, 4> names = {"photograph", "truth", "prediction", "mistakes (red)"};
  for (size_t i = 0; i < 4; ++i) head.text(kGap + static_cast<int64_t>(i) * (cell + kGap), 36, names[i]);
  parts.push_back(head.image());
  for (const ClassPicture& row : rows) {
    const int64_t h = std::clamp<int64_t>(row.photo.size(0) * cell / row.photo.size(1), 1, 4 * cell);
    const Tensor photo = resize_image(row.photo, h, cell, Interpolation::bilinear),
                 truth = detail::sized(row.truth, h, cell), prediction = detail::sized(row.prediction, h, cell);
    for (const Tensor& map : {truth, prediction})
      for (int64_t i = 0; i < map.numel(); ++i)
        if (const int64_t c = detail::class_at(map, i); c >= 0 && c < std::ssize(classes))
          occurs[static_cast<size_t>(c)] = true;
    Canvas line(width, h + kGap);
    int64_t x = kGap;
    for (const Tensor& picture : {photo, colored(truth, colors, photo), colored(prediction, colors, photo),
                                  detail::mistakes(photo, truth, prediction, row.ignored)}) {
      line.paste(picture, x, 0);
      x += cell + kGap;
    }
    parts.push_back(line.image());
  }
  std::vector<LegendEntry> entries;
  for (size_t i = 0; i < classes.size(); ++i)
    if (occurs[i]) entries.push_back({classes[i], colors[i]});
  if (!entries.empty()) parts.push_back(legend(entries, width));
  return stack_pictures(parts);
}

}  // namespace atlas::inline ATLAS_ABI::data
