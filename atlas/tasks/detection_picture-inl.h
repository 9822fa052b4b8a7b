// Bodies of detection.h that draw.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "atlas/data/canvas.h"
#include "atlas/data/pixels.h"
#include "atlas/data/rle.h"
#include "atlas/tasks/detection.h"

namespace atlas::inline ATLAS_ABI::tasks {

ATLAS_INLINE std::array<uint8_t, 3> class_color(int64_t category) {
  // Hues a golden angle apart are far from each other, however many there are.
  const double hue = std::fmod(0.09 + 0.6180339887498949 * static_cast<double>(category), 1.0) * 6;
  std::array<uint8_t, 3> c{};
  for (size_t i = 0; i < 3; ++i) {
    const double away = std::abs(std::fmod(hue + 6 - 2 * static_cast<double>(i), 6.0) - 3);
    const double v = std::clamp(away - 1, 0.0, 1.0);
    c[i] = static_cast<uint8_t>(40 + 200 * v);
  }
  return c;
}

ATLAS_INLINE Tensor draw_objects(const Tensor& image, const std::vector<CocoObject>& objects,
                                 const std::vector<std::string>& classes, bool scores) {
  data::Canvas canvas(image.size(1), image.size(0));
  canvas.paste(image, 0, 0);
  const int64_t thick = std::max<int64_t>(1, std::max(image.size(0), image.size(1)) / 400);
  for (auto o = objects.rbegin(); o != objects.rend(); ++o) {  // the best on top
    const auto [r, g, b] = class_color(o->category);
    const data::Color color{r, g, b};
    if (o->mask.height == image.size(0) && o->mask.width == image.size(1)) {
      const Tensor mask = data::rle_decode(o->mask);
      for (int64_t y = 0; y < mask.size(0); ++y)
        for (int64_t x = 0; x < mask.size(1); ++x)
          if (mask.data<uint8_t>()[y * mask.size(1) + x] != 0) canvas.blend(x, y, color, 0.45);
    }
    const auto left = static_cast<int64_t>(std::lround(o->box[0])), top = static_cast<int64_t>(std::lround(o->box[1]));
    const auto right = static_cast<int64_t>(std::lround(o->box[0] + o->box[2])),
               bottom = static_cast<int64_t>(std::lround(o->box[1] + o->box[3]));
    canvas.frame(left, top, right - left, bottom - top, color, thick);
    std::string text = o->category >= 0 && o->category < std::ssize(classes) ? classes[static_cast<size_t>(o->category)]
                                                                             : fmt::format("class {}", o->category);
    if (scores) text += fmt::format(" {:.2f}", o->score);
    const int64_t scale = std::max<int64_t>(1, thick), height = 7 * scale + 4;
    const int64_t y = top - height >= 0 ? top - height : top;
    canvas.rectangle(left, y, data::Canvas::text_width(text, scale) + 4, height, color);
    canvas.text(left + 2, y + 2, text, data::kWhite, scale);
  }
  return canvas.image();
}

ATLAS_INLINE Tensor draw_reduced(const Tensor& image, const std::vector<CocoObject>& objects,
                                 const std::array<int64_t, 2>& size, int64_t side,
                                 const std::vector<std::string>& classes) {
  const double share = static_cast<double>(side) / static_cast<double>(std::max(image.size(0), image.size(1)));
  const auto scaled = [share](int64_t n) { return std::max<int64_t>(1, std::llround(share * static_cast<double>(n))); };
  const int64_t height = scaled(image.size(0)), width = scaled(image.size(1));
  const double x = static_cast<double>(width) / static_cast<double>(size[1]),
               y = static_cast<double>(height) / static_cast<double>(size[0]);
  std::vector<CocoObject> moved = objects;
  for (CocoObject& o : moved) {
    o.box = {o.box[0] * x, o.box[1] * y, o.box[2] * x, o.box[3] * y};
    if (o.mask.height > 0 && o.mask.width > 0)
      o.mask = data::rle_encode(data::detail::nearest_pixels(data::rle_decode(o.mask), height, width));
  }
  return draw_objects(data::resize_image(image, height, width, Interpolation::bilinear), moved, classes);
}

}  // namespace atlas::inline ATLAS_ABI::tasks
