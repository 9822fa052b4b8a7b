// Shapes: overflow, broadcasting, axes; devices by name.
// ctest-device: cpu
#include "atlas/core/shape.h"

#include <doctest/doctest.h>

#include "atlas/core/device.h"
#include "atlas/ops/shape.h"

using namespace atlas;

TEST_CASE("entries are counted from the end too, and there are no others") {
  Shape s{2, 3, 5};
  CHECK(s[-1] == 5);
  CHECK(s[-3] == 2);
  s[-2] = 7;
  CHECK(s == Shape{2, 7, 5});
  for (const int i : {3, -4, 100})
    CHECK_THROWS_WITH_AS((void)s[i], fmt::format("[shape] [2,7,5] has no entry number {}", i).c_str(), Error);
  CHECK_THROWS_AS((void)Shape{}.back(), Error);
}

TEST_CASE("numel: products, zeros, overflow") {
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{2, 3, 4}.numel() == 24);
  CHECK(Shape{5, 0, 7}.numel() == 0);
  CHECK(Shape{int64_t{1} << 31, int64_t{1} << 31}.numel() == int64_t{1} << 62);
  CHECK_THROWS_WITH_AS((Shape{int64_t{1} << 32, int64_t{1} << 31}.numel()),
                       "[shape] the number of elements of [4294967296,2147483648] overflows 64 bits", Error);
  CHECK_THROWS_AS((Shape{int64_t{1} << 40, 0, int64_t{1} << 40}.numel()), Error);  // strides would overflow
  CHECK_THROWS_WITH_AS((Shape{2, -1}.numel()), "[shape] axis lengths must not be negative, got [2,-1]", Error);
}

TEST_CASE("eight axes, not nine") {
  Shape s{1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(s.size() == 8);
  CHECK(s.back() == 8);
  CHECK_THROWS_WITH_AS(s.push_back(9), "[shape] a tensor has at most 8 axes", Error);
  CHECK_THROWS_WITH_AS((Shape{1, 2, 3, 4, 5, 6, 7, 8, 9}), "[shape] a tensor has at most 8 axes, got 9", Error);
  s.erase(2);
  CHECK(s == Shape{1, 2, 4, 5, 6, 7, 8});
  s.insert(0, 9);
  CHECK(s.str() == "[9,1,2,4,5,6,7,8]");
}

TEST_CASE("contiguous strides") {
  CHECK(contiguous_strides({2, 3, 4}) == Shape{12, 4, 1});
  CHECK(contiguous_strides({2, 0, 4}) == Shape{4, 4, 1});
  CHECK(contiguous_strides({}).empty());
}

TEST_CASE("broadcasting") {
  CHECK(broadcast_shapes({2, 1, 4}, {3, 1}, "add") == Shape{2, 3, 4});
  CHECK(broadcast_shapes({}, {5}, "add") == Shape{5});
  CHECK(broadcast_shapes({0, 1}, {1, 3}, "add") == Shape{0, 3});
  CHECK_THROWS_WITH_AS(broadcast_shapes({2, 3}, {2, 4}, "add"),
                       "[add] [2,3] and [2,4] do not broadcast: axis -1 has lengths 3 and 4", Error);
  CHECK_THROWS_AS(broadcast_shapes({0}, {2}, "add"), Error);
}

TEST_CASE("axes") {
  CHECK(normalize_axis(-1, 3, "sum") == 2);
  CHECK(normalize_axis(0, 3, "sum") == 0);
  CHECK_THROWS_WITH_AS(normalize_axis(3, 3, "sum"), "[sum] axis 3 is outside [-3, 3) for 3 axes", Error);
  CHECK_THROWS_AS(normalize_axis(0, 0, "sum"), Error);
}

TEST_CASE("devices by name") {
  CHECK(Device::parse("cpu") == Device{});
  CHECK(Device::parse("cuda:3") == Device{DeviceType::cuda, 3});
  CHECK(Device::parse("cuda").str() == "cuda:0");
  for (const char* bad : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "CPU"}) CHECK_THROWS_AS(Device::parse(bad), Error);
}
