// Bodies of geometry.h: one overload per move for each of images, masks and boxes.
#pragma once

#include <algorithm>
#include <cmath>

#include "atlas/autograd/node.h"
#include "atlas/data/geometry.h"
#include "atlas/data/picture_resizer.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// Images [H,W,C].
struct MoveImage {
  Tensor x;
  Tensor operator()(const Crop& m) const { return crop(x, m.top, m.left, m.height, m.width); }
  Tensor operator()(const Scale& m) const {
    if (!m.antialias_always || (x.size(0) == m.height && x.size(1) == m.width))
      return resize_image(x, m.height, m.width, m.mode);
    if (x.dtype() == uint8 && x.size(2) == 3 && m.mode != Interpolation::nearest)
      return resize_picture(x, m.height, m.width, m.mode, true);
    const NoGrad off;
    return resize(x.unsqueeze(0), m.height, m.width, m.mode, true).select(0, 0);
  }
  Tensor operator()(const Mirror&) const { return mirror_pixels(x); }
  Tensor operator()(const Warp& m) const { return warp_image(x, m.from, m.mode, m.fill); }
};

/// Masks [H,W] or [N,H,W].
struct MoveMask {
  Tensor x;
  int64_t outside;
  bool planes() const { return x.dim() == 3; }
  Tensor operator()(const Crop& m) const { return crop_pixels(x, m.top, m.left, m.height, m.width, outside, planes()); }
  Tensor operator()(const Scale& m) const { return nearest_pixels(x, m.height, m.width, planes()); }
  Tensor operator()(const Mirror&) const { return mirror_pixels(x, planes()); }
  Tensor operator()(const Warp& m) const { return warp_nearest(x, m.from, outside, planes()); }
};

/// Boxes, and the size of the image that they lie in.
struct MoveBoxes {
  float* box;
  int64_t count;
  double height, width;

  void operator()(const Crop& m) {
    const auto dx = static_cast<double>(m.left), dy = static_cast<double>(m.top);
    height = static_cast<double>(m.height);
    width = static_cast<double>(m.width);
    each([&](double x0, double y0, double x1, double y1) { return std::array{x0 - dx, y0 - dy, x1 - dx, y1 - dy}; });
  }
  void operator()(const Scale& m) {
    const double sx = static_cast<double>(m.width) / width, sy = static_cast<double>(m.height) / height;
    height = static_cast<double>(m.height);
    width = static_cast<double>(m.width);
    each([&](double x0, double y0, double x1, double y1) { return std::array{x0 * sx, y0 * sy, x1 * sx, y1 * sy}; });
  }
  void operator()(const Mirror&) {
    const double w = width;
    each([&](double x0, double y0, double x1, double y1) { return std::array{w - x1, y0, w - x0, y1}; });
  }
  void operator()(const Warp& m) {
    const auto& f = m.from;
    const double determinant = f[0] * f[4] - f[1] * f[3];
    check(std::isfinite(determinant) && determinant != 0, "warp",
          "the map [{}, {}, {}; {}, {}, {}] brings all pixels onto a line, where boxes have no area", f[0], f[1], f[2],
          f[3], f[4], f[5]);
    each([&](double x0, double y0, double x1, double y1) {
      std::array<double, 4> out = {HUGE_VAL, HUGE_VAL, -HUGE_VAL, -HUGE_VAL};
      // A box without area would get some by turning.
      if (!(x1 > x0 && y1 > y0)) return std::array{0.0, 0.0, 0.0, 0.0};
      for (const double x : {x0, x1})
        for (const double y : {y0, y1}) {
          const double u = (f[4] * (x - f[2]) - f[1] * (y - f[5])) / determinant;
          const double v = (f[0] * (y - f[5]) - f[3] * (x - f[2])) / determinant;
          out = {std::min(out[0], u), std::min(out[1], v), std::max(out[2], u), std::max(out[3], v)};
        }
      return out;
    });
  }

 private:
  template <class F>
  void each(const F& f) {
    for (int64_t i = 0; i < count; ++i) {
      float* b = box + 4 * i;
      const std::array<double, 4> moved =
          f(static_cast<double>(b[0]), static_cast<double>(b[1]), static_cast<double>(b[2]), static_cast<double>(b[3]));
      for (size_t k = 0; k < 4; ++k) b[k] = static_cast<float>(std::clamp(moved[k], 0.0, k % 2 == 0 ? width : height));
    }
  }
};

/// Positions of the objects of which something is left.
inline std::vector<int64_t> objects_left(const Targets& targets, int64_t objects) {
  const auto is_left = [&](const Target& t, int64_t i) {
    if (t.kind == TargetKind::boxes) {
      const float* b = t.value.data<float>() + 4 * i;
      return b[2] > b[0] && b[3] > b[1];
    }
    const int64_t pixels = t.value.size(1) * t.value.size(2);
    const uint8_t* p = t.value.data<uint8_t>() + i * pixels;
    return std::any_of(p, p + pixels, [](uint8_t v) { return v != 0; });
  };
  const bool has_boxes =
      std::any_of(targets.begin(), targets.end(), [](const auto& e) { return e.second.kind == TargetKind::boxes; });
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < objects; ++i) {
    bool left = true;
    for (const auto& [key, t] : targets)
      if (t.kind == TargetKind::boxes || (t.kind == TargetKind::instance_masks && !has_boxes))
        left = left && is_left(t, i);
    if (left) rows.push_back(i);
  }
  return rows;
}

}  // namespace detail

ATLAS_INLINE Geometry Geometry::rotate(double degrees, int64_t height, int64_t width, Interpolation mode,
                                       const std::array<double, 3>& fill) {
  const double angle = degrees * 3.14159265358979323846 / 180, cx = static_cast<double>(width) / 2,
               cy = static_cast<double>(height) / 2;
  // To 15 digits, as in Pillow: the sine of 30 degrees is one half, so that points on the border are where they should.
  const auto rounded = [](double v) { return std::nearbyint(v * 1e15) / 1e15; };
  const double c = rounded(std::cos(angle)), s = rounded(std::sin(angle));
  // Rows grow downwards: the map from result to image turns with the clock as seen.
  return Move(Warp{{c, -s, cx - (c * cx - s * cy), s, c, cy - (s * cx + c * cy)}, mode, fill});
}

ATLAS_INLINE Geometry Geometry::then(const Geometry& next) const {
  Geometry all = *this;
  all.moves_.insert(all.moves_.end(), next.moves_.begin(), next.moves_.end());
  return all;
}

ATLAS_INLINE Tensor Geometry::image(const Tensor& image) const {
  Tensor x = as_image(image, "geometry");
  for (const Move& move : moves_) x = std::visit(detail::MoveImage{x}, move);
  return x;
}

ATLAS_INLINE Tensor Geometry::mask(const Tensor& mask, int64_t outside) const {
  check(mask.defined() && (mask.dim() == 2 || mask.dim() == 3) && (mask.dtype() == uint8 || mask.dtype() == int64) &&
            !mask.device().is_cuda(),
        "geometry", "needs a mask uint8 or int64 [H,W], or [N,H,W], on the CPU, got {}", describe(mask));
  Tensor x = mask.is_contiguous() ? mask : copy_of(mask);
  for (const Move& move : moves_) x = std::visit(detail::MoveMask{x, outside}, move);
  return x;
}

ATLAS_INLINE Tensor Geometry::boxes(const Tensor& boxes, int64_t height, int64_t width) const {
  check(boxes.defined() && boxes.dim() == 2 && boxes.size(1) == 4 && boxes.dtype() == float32 &&
            !boxes.device().is_cuda(),
        "geometry", "needs boxes float32[N,4] (left, top, right, bottom in pixels) on the CPU, got {}",
        describe(boxes));
  if (moves_.empty()) return boxes;
  Tensor moved = copy_of(boxes);
  detail::MoveBoxes move_boxes{moved.data<float>(), moved.size(0), static_cast<double>(height),
                               static_cast<double>(width)};
  for (const Move& move : moves_) std::visit(move_boxes, move);
  return moved;
}

ATLAS_INLINE void Geometry::apply(Targets& targets, int64_t height, int64_t width) const {
  if (moves_.empty()) return;
  for (auto& [key, t] : targets) {
    if (!t.has_places()) continue;
    if (t.kind == TargetKind::mask) t.value = mask(t.value, t.outside);
    if (t.kind == TargetKind::instance_masks) t.value = mask(t.value, 0);
    if (t.kind == TargetKind::boxes) t.value = boxes(t.value, height, width);
  }
  const int64_t objects = objects_of(targets);
  if (objects > 0) keep_objects(targets, detail::objects_left(targets, objects));
}

}  // namespace atlas::inline ATLAS_ABI::data
