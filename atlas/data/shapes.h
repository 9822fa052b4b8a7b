// Drawn shapes: a small labeled data set of any size that needs no files, for tests and first steps.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "atlas/data/dataset.h"
#include "atlas/data/random.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {
/// Signed distance (about) to the shape's edge in the unit circle, negative inside; y points down.
inline double shape_distance(int64_t label, double x, double y) {
  const double ax = std::abs(x), ay = std::abs(y), r = std::hypot(x, y);
  switch (label) {
    case 0:
      return r - 0.9;
    case 1:
      return std::max(ax, ay) - 0.75;
    case 2:
      return std::max(0.87 * ax - 0.5 * y - 0.45, y - 0.6);
    case 3:
      return std::min(std::max(ax - 0.9, ay - 0.27), std::max(ay - 0.9, ax - 0.27));
    case 4:
      return std::abs(r - 0.7) - 0.2;
    case 5:
      return std::max(ax - 0.95, ay - 0.25);
    case 6:
      return (ax + ay) * 0.7 - 0.66;
    default: {
      const double angle = std::atan2(x, -y);
      return r - (0.62 + 0.33 * std::cos(5 * angle));
    }
  }
}
/// What the shapes are called, by number.
inline constexpr std::array<const char*, 8> kShapeNames = {"circle", "square", "triangle", "cross",
                                                           "ring",   "bar",    "diamond",  "star"};
}  // namespace detail

/// Filled shapes (circle, square, triangle, cross, ring, bar, diamond, star) of random place, size, turn and color on
/// a random background with noise. Image i depends on (seed, i) alone.
class Shapes : public Dataset {
 public:
  /// @param size images; image i has label i mod classes    @param image_size side of the square images, >= 8
  /// @param classes number of shapes, 2..8
  explicit Shapes(int64_t size, int64_t image_size = 32, int64_t classes = 4, uint64_t seed = 0)
      : Dataset("shapes", names(classes)), size_(size), side_(image_size), seed_(seed) {
    check(size >= 0, "shapes", "needs size >= 0, got {}", size);
    check(image_size >= 8 && image_size <= 16384, "shapes", "needs an image size in 8..16384, got {}", image_size);
  }
  int64_t size() const override { return size_; }
  int64_t label(int64_t index) const override {
    check_index(index);
    return index % num_classes();
  }
  Sample get(int64_t index) const override {
    const int64_t label = this->label(index);
    Rng rng(seed_, Purpose::synthetic, 0, index);
    std::array<float, 3> ground{}, paint{};
    for (float& c : ground) c = static_cast<float>(rng.uniform(0, 110));
    for (float& c : paint) c = static_cast<float>(rng.uniform(140, 255));
    if (rng.chance(0.5)) std::swap(ground, paint);
    const double side = static_cast<double>(side_), radius = side * rng.uniform(0.22, 0.4);
    const double cx = rng.uniform(radius, side - radius), cy = rng.uniform(radius, side - radius);
    const double turn = rng.uniform(-0.35, 0.35), cosine = std::cos(turn), sine = std::sin(turn);
    const double soft = 1.0 / radius;  // one pixel of blur at the edge
    Tensor image = empty({side_, side_, 3}, uint8, Device{});
    uint8_t* p = image.data<uint8_t>();
    for (int64_t y = 0; y < side_; ++y) {
      for (int64_t x = 0; x < side_; ++x, p += 3) {
        const double dx = (static_cast<double>(x) + 0.5 - cx) / radius,
                     dy = (static_cast<double>(y) + 0.5 - cy) / radius;
        const double inside =
            0.5 - detail::shape_distance(label, cosine * dx + sine * dy, cosine * dy - sine * dx) / soft;
        const float cover = static_cast<float>(std::clamp(inside, 0.0, 1.0));
        const uint32_t noise = rng.bits();
        for (size_t c = 0; c < 3; ++c) {
          const float grain = static_cast<float>((noise >> (8 * c)) & 31u) - 15.5f;
          p[c] = static_cast<uint8_t>(std::clamp(ground[c] + cover * (paint[c] - ground[c]) + grain, 0.0f, 255.0f));
        }
      }
    }
    return labeled(image, label);
  }

 private:
  static std::vector<std::string> names(int64_t classes) {
    check(classes >= 2 && classes <= 8, "shapes", "has 2 to 8 classes, asked for {}", classes);
    return {detail::kShapeNames.begin(), detail::kShapeNames.begin() + classes};
  }
  int64_t size_, side_;
  uint64_t seed_;
};

}  // namespace atlas::inline ATLAS_ABI::data
