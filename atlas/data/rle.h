// Run-length masks as COCO has them: the pixels of a mask column by column, as the lengths of runs of zeros and ones.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {
/// a · b rounded before anything is added: where programs agree to the last
/// bit, a fused multiply-add would not.
inline double rounded_product(double a, double b) {
  const volatile double product = a * b;
  return product;
}

}  // namespace detail

/// A mask of height x width. Runs alternate, zeros first (that run may be empty), and sum up to height · width.
struct Rle {
  int64_t height = 0, width = 0;
  std::vector<uint32_t> counts{};

  /// Number of ones.
  int64_t area() const;
  /// The smallest box around the ones: left, top, width, height; zeros for an empty mask.
  std::array<double, 4> box() const;
};

/// @param mask  uint8 [H, W] on the CPU; anything but 0 is one
Rle rle_encode(const Tensor& mask);
/// The mask: uint8 [H, W] of zeros and ones. @throws Error when the runs do not sum up to the size.
Tensor rle_decode(const Rle& rle);

/// The runs as COCO's text: each count, from the third on its difference to the one before the last, in groups of five
/// bits from the lowest, with a sixth for "more" and 48 added.
std::string rle_to_string(const Rle& rle);
/// @throws Error for a character that does not belong there, a number that is cut off or no length, and runs that do
/// not sum up to height · width.
Rle rle_from_string(std::string_view text, int64_t height, int64_t width);
/// Runs as plain numbers. @throws Error as rle_from_string().
Rle rle_from_counts(std::vector<uint32_t> counts, int64_t height, int64_t width);

/// The inside of a polygon, as pycocotools draws it: its edges on a grid five times as fine, then each column of pixels
/// by where they cross it.
/// @param corners  x, y, x, y, ... in pixels; at least three corners
/// @throws Error for an odd number of coordinates, fewer than three corners, and coordinates that are no numbers or
/// farther than 10^5 pixels away.
Rle rle_from_polygon(std::span<const double> corners, int64_t height, int64_t width);

/// Where any of the masks is one. @throws Error when sizes differ, or there is no mask.
Rle rle_union(const std::vector<Rle>& masks);
/// Pixels where both are one. @throws Error when sizes differ.
int64_t rle_intersection(const Rle& a, const Rle& b);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/rle-inl.h"
#endif
