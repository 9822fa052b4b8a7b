// window_partition and window_reverse: layout, padding, inverse and gradient of each other, errors.
#include "atlas/ops/window.h"

#include <doctest/doctest.h>

#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

Op cut(int64_t window) {
  return [=](const std::vector<Tensor>& in) { return window_partition(in[0], window); };
}
Op join(int64_t window, int64_t b, int64_t h, int64_t w) {
  return [=](const std::vector<Tensor>& in) { return window_reverse(in[0], window, b, h, w); };
}

}  // namespace

TEST_CASE("window_partition: order of windows and pixels, zero padding") {
  // 3 x 3 pixels numbered from 1, windows of 2: padded to 4 x 4.
  const Tensor w = window_partition(arange(1, 10).reshape({1, 3, 3, 1}), 2);
  CHECK(w.shape() == Shape{4, 4, 1});
  const std::vector<int64_t> expected{1, 2, 4, 5, 3, 0, 6, 0, 7, 8, 0, 0, 9, 0, 0, 0};
  CHECK(to_vector<int64_t>(w) == expected);
}

TEST_CASE("window: inverse, composites and gradients, any size") {
  struct Case {
    Shape map;
    int64_t window;
  };
  for (const Case& c :
       {Case{{2, 4, 6, 3}, 2}, {{1, 5, 7, 2}, 3}, {{2, 3, 3, 1}, 1}, {{1, 2, 3, 4}, 5}, {{3, 1, 8, 2}, 4}}) {
    const Shape map = c.map;
    const int64_t window = c.window;
    CAPTURE(map.str());
    CAPTURE(window);
    const Tensor x = random(map, 1);
    CHECK(same_bits(window_reverse(window_partition(x, window), window, map[0], map[1], map[2]), x));
    CHECK(gradcheck(cut(window), {x}).checked > 0);
    CHECK(op_difference(cut(window),
                        [=](const std::vector<Tensor>& in) { return window_partition_reference(in[0], window); },
                        {x}) == 0);
    const Tensor windows = random(window_partition(x, window).shape(), 2);
    CHECK(gradcheck(join(window, map[0], map[1], map[2]), {windows}).checked > 0);
    CHECK(op_difference(join(window, map[0], map[1], map[2]),
                        [=](const std::vector<Tensor>& in) {
                          return window_reverse_reference(in[0], window, map[0], map[1], map[2]);
                        },
                        {windows}) == 0);
  }
  for (const Shape& map : {Shape{0, 4, 4, 3}, Shape{2, 0, 4, 3}, Shape{2, 4, 4, 0}}) {
    const Tensor w = window_partition(random(map, 1), 2);
    CHECK(w.shape() == Shape{map[0] * (map[1] / 2) * 2, 4, map[3]});
    CHECK(window_reverse(w, 2, map[0], map[1], map[2]).shape() == map);
  }
}

TEST_CASE("window: many rows, threads do not matter") {
  CHECK(same_for_any_threads([] {
    const Tensor x = random({3, 50, 61, 40}, 1, float32);
    const Tensor w = window_partition(x, 8);
    return std::vector<Tensor>{w, window_reverse(w, 8, 3, 50, 61)};
  }));
}

TEST_CASE("window: errors") {
  CHECK(error_of([] {
          window_partition(random({2, 3, 4}, 1), 2);
        }) == "[window_partition] x needs four axes [B, H, W, C], got float64[2,3,4]");
  CHECK(error_of([] {
          window_partition(random({1, 2, 3, 4}, 1), 0);
        }) == "[window_partition] window is 0, needs [1, 1048576]");
  CHECK(error_of([] {
          window_reverse(random({4, 9, 2}, 1), 2, 1, 4, 4);
        }) == "[window_reverse] windows float64[4,9,2] axis 1 = 9, needs 2 * 2 = 4 pixels");
  CHECK(error_of([] {
          window_reverse(random({3, 4, 2}, 1), 2, 1, 3, 4);
        }) ==
        "[window_reverse] windows float64[3,4,2] axis 0 = 3, needs B nh nw = 1 * 2 * 2 for a map of 3 x 4 pixels");
  CHECK(error_of([] {
          window_reverse(random({4, 4}, 1), 2, 1, 4, 4);
        }) == "[window_reverse] windows need three axes [B nh nw, window^2, C], got float64[4,4]");
}

TEST_CASE("windows need not be square") {
  const Tensor map = random({2, 5, 7, 3}, 1);
  const WindowLayout l{5, 7, 2, 3};
  const Tensor w = window_partition(map, l);
  CHECK(w.shape() == Shape{2 * 3 * 3, 6, 3});
  CHECK(w[9 + 3 + 1][5][2].item<double>() == map[1][3][5][2].item<double>());
  CHECK(w[8][1][0].item<double>() == 0);  // beyond the last column
  const Tensor back = window_reverse(w, l, 2);
  CHECK(same_bits(back, map));
  CHECK_NOTHROW(gradcheck([=](const std::vector<Tensor>& in) { return window_partition(in[0], l); }, {map}));
  CHECK_NOTHROW(gradcheck([=](const std::vector<Tensor>& in) { return window_reverse(in[0], l, 2); }, {w}));
  CHECK_THROWS_WITH_AS(window_partition(map, WindowLayout{5, 6, 2, 3}),
                       "[window_partition] the layout is of 5 x 6 pixels, x is float64[2,5,7,3]", Error);
}
