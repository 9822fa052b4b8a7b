// Resizing row by row: the numbers of the general resize, whatever the sizes, from a whole picture and from a stream.
#include "atlas/data/picture_resizer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "atlas/autograd/node.h"
#include "atlas/core/parallel.h"
#include "atlas/data/pixels.h"
#include "atlas/data/random.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;

TEST_CASE("pictures are resized as feature maps are, to a rounding") {
  const NoGrad off;
  Rng rng(1, Purpose::synthetic, 0, 0);
  for (const auto& [height, width, to_height, to_width] : {std::array<int64_t, 4>{97, 61, 31, 17},
                                                           {97, 61, 200, 150},
                                                           {64, 64, 64, 21},
                                                           {5, 1, 3, 7},
                                                           {1, 1, 9, 9},
                                                           {1, 1000, 1, 30},
                                                           {300, 2, 7, 5},
                                                           {40, 21, 40, 21},
                                                           {33, 85, 1, 1},
                                                           {200, 333, 10, 400}}) {
    Tensor x = empty({height, width, 3}, uint8);
    for (int64_t i = 0; i < x.numel(); ++i)
      x.data<uint8_t>()[i] = static_cast<uint8_t>(rng.chance(0.2) ? 255 * rng.below(2) : rng.below(256));
    for (const Interpolation mode : {Interpolation::bilinear, Interpolation::bicubic})
      for (const bool antialias : {false, true}) {
        CAPTURE(x.shape().str());
        CAPTURE(antialias);
        const Tensor expected = resize(x.unsqueeze(0), to_height, to_width, mode, antialias).select(0, 0);
        const Tensor y = resize_picture(x, to_height, to_width, mode, antialias);
        REQUIRE(y.shape() == expected.shape());
        int largest = 0, moved = 0;
        for (int64_t i = 0; i < y.numel(); ++i) {
          const int d = std::abs(int{y.data<uint8_t>()[i]} - int{expected.contiguous().data<uint8_t>()[i]});
          largest = std::max(largest, d);
          moved += d > 0 ? 1 : 0;
        }
        CHECK(largest <= 1);
        CHECK(moved <= 1 + y.numel() / 50);

        PictureResizer rows(atlas::detail::make_taps(height, to_height, mode, antialias),
                            atlas::detail::make_taps(width, to_width, mode, antialias), width);
        for (int64_t row = rows.first_row(); !rows.done(); ++row) {
          REQUIRE(row < height);
          std::memcpy(rows.next_row(), x.data<uint8_t>() + 3 * row * width, static_cast<size_t>(3 * width));
          rows.push();
        }
        CHECK(test::same_bits(rows.result(), y));
      }
  }
}

TEST_CASE("a resized picture does not depend on the number of threads") {
  Tensor x = empty({400, 300, 3}, uint8);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<uint8_t>()[i] = static_cast<uint8_t>(i * i % 251);
  const int threads = num_threads();
  set_num_threads(1);
  const Tensor alone = resize_image(x, 333, 222, Interpolation::bicubic);
  set_num_threads(4);
  CHECK(test::same_bits(resize_image(x, 333, 222, Interpolation::bicubic), alone));
  set_num_threads(threads);
}

TEST_CASE("a resize reads only the rows that it needs") {
  // Every third row, nothing before and behind.
  ResampleTaps rows, columns;
  for (const int64_t row : {4, 7, 10}) rows.push_back(row, {1.0});
  for (const int64_t column : {1, 0}) columns.push_back(column, {0.5, 0.5});
  PictureResizer resizer(rows, columns, 3);
  CHECK(resizer.first_row() == 4);
  int64_t pushed = 0;
  for (int64_t row = 4; !resizer.done(); ++row, ++pushed) {
    for (int64_t i = 0; i < 9; ++i) resizer.next_row()[i] = static_cast<uint8_t>(20 * row + 2 * (i / 3));
    resizer.push();
  }
  CHECK(pushed == 7);
  for (int64_t i = 0; i < 3; ++i) {
    CHECK(resizer.result().at<uint8_t>({i, 0, 1}) == 80 + 60 * i + 3);
    CHECK(resizer.result().at<uint8_t>({i, 1, 2}) == 80 + 60 * i + 1);
  }
}
