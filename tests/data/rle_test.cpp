// Run-length masks: both ways, COCO's text, polygons, unions, intersections, boxes, bad texts.
#include "atlas/data/rle.h"

#include <doctest/doctest.h>

#include "atlas/tensor/create.h"
#include "tests/ops/random_input.h"

using namespace atlas;
using namespace test;
using data::Rle;

namespace {

Tensor random_mask(int64_t h, int64_t w, uint64_t seed, uint32_t of_eight) {
  Tensor m = empty({h, w}, uint8, Device{});
  for (int64_t i = 0; i < m.numel(); ++i)
    m.data<uint8_t>()[i] = Philox(seed, 0, static_cast<uint64_t>(i)).v[0] % 8 < of_eight ? 1 : 0;
  return m;
}
int64_t ones_in(const Tensor& m) {
  int64_t n = 0;
  for (int64_t i = 0; i < m.numel(); ++i) n += m.data<uint8_t>()[i];
  return n;
}

}  // namespace

TEST_CASE("rle: masks there and back, as runs and as text") {
  for (const uint32_t share : {0u, 1u, 4u, 7u, 8u})
    for (const auto& [h, w] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {5, 7}, {40, 3}, {3, 300}}) {
      const Tensor m = random_mask(h, w, 3 + share, share);
      const Rle rle = data::rle_encode(m);
      CHECK(same_bits(data::rle_decode(rle), m));
      CHECK(rle.area() == ones_in(m));
      CHECK(data::rle_from_string(data::rle_to_string(rle), h, w).counts == rle.counts);
    }
  CHECK(data::rle_decode({0, 0, {}}).numel() == 0);
}

TEST_CASE("rle: columns first, zeros first, and pycocotools' text") {
  Tensor m = zeros({3, 4}, uint8, Device{});
  for (const auto& [y, x] : std::vector<std::pair<int64_t, int64_t>>{{1, 0}, {2, 0}, {0, 1}, {1, 3}})
    m.at<uint8_t>({y, x}) = 1;
  const Rle rle = data::rle_encode(m);
  CHECK(rle.counts == std::vector<uint32_t>{1, 3, 6, 1, 1});
  // Counts 1, 3, 6, then 1 - 3 = -2 and 1 - 6 = -5.
  CHECK(data::rle_to_string(rle) == "136NK");
  CHECK(rle.box() == std::array<double, 4>{0, 0, 4, 3});
  m.at<uint8_t>({0, 0}) = 1;
  CHECK(data::rle_encode(m).counts[0] == 0);
  // Numbers of more than five bits: 1000 = 0b11111'01000.
  CHECK(data::rle_to_string({1, 1000, {1000}}) == "Xo0");
  CHECK(data::rle_from_string("Xo0", 1, 1000).counts == std::vector<uint32_t>{1000});
}

TEST_CASE("rle: unions and intersections are those of the pixels; boxes are tight") {
  const Tensor a = random_mask(13, 17, 1, 2), b = random_mask(13, 17, 2, 3);
  const Rle x = data::rle_encode(a), y = data::rle_encode(b);
  int64_t both = 0, any = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    both += a.data<uint8_t>()[i] & b.data<uint8_t>()[i];
    any += a.data<uint8_t>()[i] | b.data<uint8_t>()[i];
  }
  CHECK(data::rle_intersection(x, y) == both);
  CHECK(data::rle_union({x, y}).area() == any);
  Tensor one = zeros({9, 8}, uint8, Device{});
  for (int64_t r = 2; r < 6; ++r)
    for (int64_t c = 3; c < 8; ++c) one.at<uint8_t>({r, c}) = 1;
  CHECK(data::rle_encode(one).box() == std::array<double, 4>{3, 2, 5, 4});
  CHECK(data::rle_encode(zeros({9, 8}, uint8, Device{})).box() == std::array<double, 4>{0, 0, 0, 0});
}

TEST_CASE("rle: polygons") {
  const std::vector<double> square{2, 1, 6, 1, 6, 4, 2, 4};
  const Rle rle = data::rle_from_polygon(square, 8, 9);
  CHECK(rle.area() == 12);
  CHECK(rle.box() == std::array<double, 4>{2, 1, 4, 3});
  const std::vector<double> beyond{-5, -5, 50, -5, 50, 50, -5, 50};
  CHECK(data::rle_from_polygon(beyond, 8, 9).area() == 72);
  const std::vector<double> outside{20, 20, 30, 20, 30, 30};
  CHECK(data::rle_from_polygon(outside, 8, 9).area() == 0);
  const std::vector<double> point{3, 3, 3, 3, 3, 3};
  CHECK(data::rle_from_polygon(point, 8, 9).area() == 0);
  const std::vector<double> far{-1e5, -1e5, 1e5, -1e5, 1e5, 1e5, -1e5, 1e5};  // as long as any, and takes no memory
  CHECK(data::rle_from_polygon(far, 8, 9).area() == 72);
  CHECK(message_of([] {
          data::rle_from_polygon(std::vector<double>{0, 0, 100001, 0, 0, 5}, 8, 9);
        }) == "[rle] corner 100001, 0 of a polygon is out of range (100000)");
  // Area of a large triangle, up to its edge.
  const std::vector<double> triangle{10.3, 5.2, 180.7, 20.1, 60.4, 150.9};
  const double exact = std::abs((180.7 - 10.3) * (150.9 - 5.2) - (60.4 - 10.3) * (20.1 - 5.2)) / 2;
  CHECK(std::abs(static_cast<double>(data::rle_from_polygon(triangle, 200, 200).area()) - exact) < 0.01 * exact);
}

TEST_CASE("rle: bad runs are one line") {
  CHECK(error_of([] { data::rle_from_string("1", 2, 2); }) ==
        "[rle] the runs of a mask sum up to 1 pixels, which are not 2 x 2 = 4");
  CHECK(error_of([] { data::rle_from_string("X", 2, 2); }) == "[rle] the number at character 0 of the runs is cut off");
  CHECK(error_of([] { data::rle_from_string("1\x01", 2, 2); }) ==
        "[rle] character 1 of the runs has code 1, needs 48 to 111");
  CHECK(error_of([] { data::rle_from_string("oooooooooo0", 2, 2); }) ==
        "[rle] the number at character 0 of the runs is too long");
  CHECK(error_of([] { data::rle_from_string("O", 2, 2); }) == "[rle] run 0 is -1 pixels long");
  CHECK(error_of([] { data::rle_intersection({2, 2, {4}}, {2, 3, {6}}); }) == "[rle] masks of 2 x 2 and 2 x 3 pixels");
  CHECK(error_of([] {
          data::rle_from_polygon(std::vector<double>{1, 2, 3, 4, 5}, 8, 9);
        }) == "[rle] a polygon needs x and y of at least three corners, got 5 numbers");
  CHECK(error_of([] { data::rle_from_counts({1}, 1 << 20, 1 << 20); }) ==
        "[rle] a mask of 1048576 x 1048576 pixels is out of range");
}
