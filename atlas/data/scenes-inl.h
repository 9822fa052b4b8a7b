// Bodies of scenes.h.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "atlas/data/random.h"
#include "atlas/data/scenes.h"
#include "atlas/data/shapes.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// One drawn shape.
struct SceneShape {
  int64_t kind = 0;
  double x = 0, y = 0, radius = 1, cosine = 1, sine = 0;
  std::array<float, 3> paint{};

  /// How much of a pixel it covers, in [0, 1]: one pixel of blur at the edge.
  double cover(int64_t row, int64_t column) const {
    const double dx = (static_cast<double>(column) + 0.5 - x) / radius,
                 dy = (static_cast<double>(row) + 0.5 - y) / radius;
    return std::clamp(0.5 - shape_distance(kind, cosine * dx + sine * dy, cosine * dy - sine * dx) * radius, 0.0, 1.0);
  }
};

inline std::vector<std::string> scene_classes(int64_t shapes, SceneTruth truth) {
  check(shapes >= 2 && shapes <= 8, "scenes", "has 2 to 8 kinds of shapes, asked for {}", shapes);
  std::vector<std::string> names(kShapeNames.begin(), kShapeNames.begin() + shapes);
  if (truth == SceneTruth::pixels) names.insert(names.begin(), "background");
  return names;
}

/// The targets of objects that can be seen.
inline void set_objects(Sample& sample, const std::vector<SceneShape>& shapes, const std::vector<int>& owner,
                        int64_t side) {
  constexpr int64_t kLeast = 12;  // pixels
  std::vector<int64_t> seen(shapes.size());
  for (const int o : owner)
    if (o >= 0) ++seen[static_cast<size_t>(o)];
  std::vector<size_t> rows;
  for (size_t i = 0; i < shapes.size(); ++i)
    if (seen[i] >= kLeast) rows.push_back(i);
  const int64_t n = std::ssize(rows);
  Tensor boxes = empty({n, 4}, float32, Device{}), labels = empty({n}, int64, Device{}),
         masks = zeros({n, side, side}, uint8, Device{});
  for (int64_t r = 0; r < n; ++r) {
    const auto shape = static_cast<int>(rows[static_cast<size_t>(r)]);
    labels.data<int64_t>()[r] = shapes[static_cast<size_t>(shape)].kind;
    std::array<int64_t, 4> box = {side, side, 0, 0};
    for (int64_t i = 0; i < side * side; ++i) {
      if (owner[static_cast<size_t>(i)] != shape) continue;
      masks.data<uint8_t>()[r * side * side + i] = 1;
      box = {std::min(box[0], i % side), std::min(box[1], i / side), std::max(box[2], i % side + 1),
             std::max(box[3], i / side + 1)};
    }
    for (size_t k = 0; k < 4; ++k) boxes.data<float>()[4 * r + static_cast<int64_t>(k)] = static_cast<float>(box[k]);
  }
  sample.targets.set("boxes", {TargetKind::boxes, boxes});
  sample.targets.set(kLabel, {TargetKind::label, labels});
  sample.targets.set("instance_masks", {TargetKind::instance_masks, masks});
}

}  // namespace detail

ATLAS_INLINE Scenes::Scenes(int64_t size, int64_t image_size, SceneTruth truth, int64_t shapes, uint64_t seed)
    : Dataset("scenes", detail::scene_classes(shapes, truth)),
      size_(size),
      side_(image_size),
      shapes_(shapes),
      truth_(truth),
      seed_(seed) {
  check(size >= 0, "scenes", "needs size >= 0, got {}", size);
  check(image_size >= 32 && image_size <= 16384, "scenes", "needs an image size in 32..16384, got {}", image_size);
}

ATLAS_INLINE Sample Scenes::get(int64_t index) const {
  check_index(index);
  Rng rng(seed_, Purpose::synthetic, 1, index);
  const auto side = static_cast<double>(side_);
  const auto color = [&](double low, double high) {
    std::array<float, 3> c{};
    for (float& v : c) v = static_cast<float>(rng.uniform(low, high));
    return c;
  };
  // A dark ground with bright shapes, or the other way round; the ground changes along a line.
  const bool dark = rng.chance(0.5);
  const std::array<float, 3> a = dark ? color(0, 100) : color(150, 255), b = dark ? color(0, 100) : color(150, 255);
  const double angle = rng.uniform(0, 6.283), along_x = std::cos(angle) / side, along_y = std::sin(angle) / side;
  std::vector<detail::SceneShape> shapes(static_cast<size_t>(1 + rng.below(3)));
  for (detail::SceneShape& s : shapes) {
    s.kind = rng.below(shapes_);
    s.radius = side * rng.uniform(0.17, 0.32);
    s.x = rng.uniform(0.6 * s.radius, side - 0.6 * s.radius);
    s.y = rng.uniform(0.6 * s.radius, side - 0.6 * s.radius);
    const double turn = rng.uniform(-0.35, 0.35);
    s.cosine = std::cos(turn), s.sine = std::sin(turn);
    s.paint = dark ? color(130, 255) : color(0, 125);
  }
  Sample sample{empty({side_, side_, 3}, uint8, Device{})};
  std::vector<int> owner(static_cast<size_t>(side_ * side_), -1);
  uint8_t* p = sample.image.data<uint8_t>();
  for (int64_t row = 0; row < side_; ++row)
    for (int64_t column = 0; column < side_; ++column, p += 3) {
      const double t = std::clamp(
          0.5 + along_x * (static_cast<double>(column) - side / 2) + along_y * (static_cast<double>(row) - side / 2),
          0.0, 1.0);
      std::array<float, 3> c{};
      for (size_t k = 0; k < 3; ++k) c[k] = a[k] + static_cast<float>(t) * (b[k] - a[k]);
      for (size_t i = 0; i < shapes.size(); ++i) {
        const double cover = shapes[i].cover(row, column);
        for (size_t k = 0; k < 3; ++k) c[k] += static_cast<float>(cover) * (shapes[i].paint[k] - c[k]);
        if (cover >= 0.5) owner[static_cast<size_t>(row * side_ + column)] = static_cast<int>(i);
      }
      const uint32_t noise = rng.bits();
      for (size_t k = 0; k < 3; ++k)
        p[k] =
            static_cast<uint8_t>(std::clamp(c[k] + static_cast<float>((noise >> (8 * k)) & 31u) - 15.5f, 0.0f, 255.0f));
    }
  if (truth_ == SceneTruth::objects) {
    detail::set_objects(sample, shapes, owner, side_);
    return sample;
  }
  Tensor mask = empty({side_, side_}, uint8, Device{});
  for (size_t i = 0; i < owner.size(); ++i)
    mask.data<uint8_t>()[i] = static_cast<uint8_t>(owner[i] < 0 ? 0 : shapes[static_cast<size_t>(owner[i])].kind + 1);
  sample.targets.set(kMask, {TargetKind::mask, mask});
  return sample;
}

}  // namespace atlas::inline ATLAS_ABI::data
