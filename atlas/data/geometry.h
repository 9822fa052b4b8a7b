// Geometry: how an image is cut, scaled, mirrored and turned, described once and done to the image and to each of its
// targets by the target's kind.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "atlas/data/pixels.h"
#include "atlas/data/sample.h"

namespace atlas::inline ATLAS_ABI::data {

/// Cuts out a rectangle. It may reach over the image's borders (padding): beyond them images are 0, masks ignored.
struct Crop {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// Resizes to height x width: images as `mode` says, masks by the nearest pixel.
struct Scale {
  int64_t height = 0, width = 0;
  Interpolation mode = Interpolation::bilinear;
  bool antialias_always = false;  ///< also where the image gets larger, as imaging programs do
};

/// Left and right change places.
struct Mirror {};

/// An affine map; the size stays. What is found at column x, row y of the result (pixel centers at half-integers) was
/// at column from[0] x + from[1] y + from[2], row from[3] x + from[4] y + from[5]. Masks take the nearest pixel.
struct Warp {
  std::array<double, 6> from = {1, 0, 0, 0, 1, 0};
  Interpolation mode = Interpolation::bilinear;
  std::array<double, 3> fill = {0, 0, 0};  ///< color of images beyond the borders, in 0..255
};

/// Moves, one after the other.
///
/// Images move between pixels, masks by the nearest pixel. Boxes become the smallest upright boxes around what they
/// were and are clipped to the image; an object whose box has no area left is dropped, with its rows in all targets
/// (objects without boxes: when their mask is empty).
class Geometry {
 public:
  using Move = std::variant<Crop, Scale, Mirror, Warp>;

  Geometry() = default;
  Geometry(Move move) : moves_{std::move(move)} {}
  Geometry(std::vector<Move> moves) : moves_(std::move(moves)) {}

  /// Borders around an image of height x width.
  static Geometry pad(int64_t height, int64_t width, int64_t top, int64_t left, int64_t bottom, int64_t right) {
    return Move(Crop{-top, -left, height + top + bottom, width + left + right});
  }
  /// A turn by `degrees` against the clock, about the middle of an image of height x width.
  static Geometry rotate(double degrees, int64_t height, int64_t width, Interpolation mode = Interpolation::bilinear,
                         const std::array<double, 3>& fill = {});
  /// Column x + shear_x y, row y + shear_y x of the image come to column x, row y.
  static Geometry shear(double shear_x, double shear_y, Interpolation mode = Interpolation::bilinear,
                        const std::array<double, 3>& fill = {}) {
    return Move(Warp{{1, shear_x, 0, shear_y, 1, 0}, mode, fill});
  }
  /// Column x + dx, row y + dy of the image come to column x, row y.
  static Geometry translate(double dx, double dy, Interpolation mode = Interpolation::bilinear,
                            const std::array<double, 3>& fill = {}) {
    return Move(Warp{{1, 0, dx, 0, 1, dy}, mode, fill});
  }

  /// These moves, then those of `next`.
  Geometry then(const Geometry& next) const;
  const std::vector<Move>& moves() const { return moves_; }

  /// The moved image.   uint8 or float32 [H,W,C]
  Tensor image(const Tensor& image) const;
  /// The moved mask.   uint8 or int64 [H,W], or [N,H,W]; `outside` beyond the borders
  Tensor mask(const Tensor& mask, int64_t outside = kIgnored) const;
  /// The moved boxes, clipped; one without area has right <= left or bottom <= top.   float32 [N,4]
  /// @param height, width  of the image before the moves
  Tensor boxes(const Tensor& boxes, int64_t height, int64_t width) const;

  /// Moves the targets of an image of height x width. The targets fit it, as check_targets() says.
  void apply(Targets& targets, int64_t height, int64_t width) const;
  /// Moves the image and its targets.
  void apply(Sample& sample) const {
    const int64_t height = sample.image.size(0), width = sample.image.size(1);
    sample.image = image(sample.image);
    apply(sample.targets, height, width);
  }

 private:
  std::vector<Move> moves_;
};

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/geometry-inl.h"
#endif
