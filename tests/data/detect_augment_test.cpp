// Resizing as detectors are trained: bounds, and the sides of the crops between.
// ctest-device: cpu
#include "atlas/data/detect_augment.h"

#include <doctest/doctest.h>

#include <map>
#include <variant>

#include "atlas/tensor/create.h"

using namespace atlas;
using namespace atlas::data;

TEST_CASE("sides of crops are uniform between both bounds, each cut to what the image has") {
  // Images of the size that the first resize gives: nothing but the crop is drawn of their sides.
  struct Range {
    int64_t side, low, high;
  };
  for (const Range& range : {Range{500, 384, 500}, Range{380, 380, 380}, Range{640, 384, 600}}) {
    const int64_t side = range.side, low = range.low, high = range.high;
    CAPTURE(side);
    const ResizeCropResize resize{{side}, {64}};
    const Tensor image = zeros({side, side, 3}, uint8, Device{});
    std::map<int64_t, int64_t> heights, widths;
    int64_t crops = 0;
    for (int64_t i = 0; i < 3000; ++i) {
      Rng rng(1, Purpose::sample, 0, i);
      const Geometry geometry = resize.geometry(image, rng);
      for (const Geometry::Move& move : geometry.moves())
        if (const auto* crop = std::get_if<Crop>(&move)) {
          ++crops, ++heights[crop->height], ++widths[crop->width];
          CHECK(crop->top + crop->height <= side);
          CHECK(crop->left + crop->width <= side);
        }
    }
    CHECK(crops > 1350);  // of every second image
    CHECK(crops < 1650);
    for (const auto* sides : {&heights, &widths}) {
      CHECK(sides->begin()->first >= low);
      CHECK(sides->rbegin()->first <= high);
      // About equally many of each: none has a heap of its own.
      const auto share = static_cast<double>(crops) / static_cast<double>(high - low + 1);
      for (const auto& [length, count] : *sides) CHECK(static_cast<double>(count) <= 3 * share + 5);
      CHECK(std::ssize(*sides) >= (high - low + 1) * 9 / 10);
    }
  }
}
