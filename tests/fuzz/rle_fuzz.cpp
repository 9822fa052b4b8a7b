// Run-length masks: any text gives a mask that survives all ways there and back, or an atlas::Error; any numbers give a
// polygon inside its image.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "atlas/data/rle.h"

namespace {

constexpr int64_t kHeight = 24, kWidth = 17;

void check_mask(const atlas::data::Rle& rle) {
  namespace data = atlas::data;
  const data::Rle again = data::rle_encode(data::rle_decode(rle));
  if (again.area() != rle.area() || data::rle_intersection(rle, again) != rle.area()) std::abort();
  if (data::rle_from_string(data::rle_to_string(rle), rle.height, rle.width).counts != rle.counts) std::abort();
  const auto box = again.box();
  if (box[0] < 0 || box[0] + box[2] > kWidth || box[1] + box[3] > kHeight) std::abort();
  if (data::rle_union({rle, again}).area() != rle.area()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  namespace data = atlas::data;
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  try {
    check_mask(data::rle_from_string(text, kHeight, kWidth));
  } catch (const atlas::Error&) {
  }
  std::vector<double> corners(size / sizeof(float));
  for (size_t i = 0; i < corners.size(); ++i) {
    float v = 0;
    std::memcpy(&v, bytes + i * sizeof v, sizeof v);
    // Edges are walked point by point: nothing so far away that it takes seconds.
    corners[i] = static_cast<double>(v > 1000 || v < -1000 ? v / 1e36f : v);
  }
  try {
    check_mask(data::rle_from_polygon(corners, kHeight, kWidth));
  } catch (const atlas::Error&) {
  }
  return 0;
}
