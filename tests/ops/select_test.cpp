// where and masked_fill: values for every type, broadcasting, gradients, error texts.
#include "atlas/ops/select.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "random_input.h"

using namespace atlas;
using test::difference;
using test::error_of;
using test::random;
using test::scattered;

TEST_CASE("where chooses, for every type") {
  const Tensor c = gt(from_vector<float>({1, 0, 1, 0, 0, 1}, {2, 3}), 0);
  for (DType t : {float32, float64, bfloat16, float16, int64, uint8, boolean}) {
    CAPTURE(name(t));
    const Tensor a = full({2, 3}, 1, t), b = full({3}, 0, t);
    const Tensor y = where(c, a, b);
    CHECK(y.dtype() == t);
    CHECK(difference(y, from_vector<float>({1, 0, 1, 0, 0, 1}, {2, 3})) == 0);
    CHECK(difference(where(scattered(c), b, scattered(a)), from_vector<float>({0, 1, 0, 1, 1, 0}, {2, 3})) == 0);
    CHECK(difference(masked_fill(a, c, 0), from_vector<float>({0, 1, 0, 1, 1, 0}, {2, 3})) == 0);
    CHECK(difference(masked_fill(scattered(a), c, 0), from_vector<float>({0, 1, 0, 1, 1, 0}, {2, 3})) == 0);
  }
}

TEST_CASE("the condition broadcasts too, and axes may be empty") {
  const Tensor c = gt(from_vector<float>({1, -1}, {2, 1}), 0);
  CHECK(difference(where(c, full({3}, 5), zeros({})), from_vector<float>({5, 5, 5, 0, 0, 0}, {2, 3})) == 0);
  CHECK(where(zeros({0, 1}, boolean), zeros({3}), zeros({1})).shape() == Shape{0, 3});
  CHECK(masked_fill(ones({2, 3}), c, -INFINITY)[0][2].item<float>() == -INFINITY);
  CHECK(masked_fill(ones({2, 3}), c, -INFINITY)[1][0].item<float>() == 1);
}

TEST_CASE("what is not chosen does not matter, NaN included") {
  Tensor x = from_vector<float>({NAN, 2});
  x.set_requires_grad();
  const Tensor y = where(eq(x, x), x, zeros({}));
  CHECK(difference(y, from_vector<float>({0, 2})) == 0);
  backward(y, full({2}, 3));
  CHECK(difference(x.grad(), from_vector<float>({0, 3})) == 0);
}

TEST_CASE("gradients") {
  for (const auto& [sc_, sa_, sb] : {std::tuple<Shape, Shape, Shape>{{2, 3}, {2, 3}, {2, 3}},
                                     {{2, 1}, {3}, {2, 3}},
                                     {{3}, {}, {4, 3}},
                                     {{}, {2, 2}, {1}},
                                     {{0, 2}, {2}, {1, 2}},
                                     {{1, 2}, {0, 1}, {2}}}) {
    const auto &sc = sc_, &sa = sa_;  // clang below 16 captures no structured binding
    CAPTURE(sc.str());
    CAPTURE(sa.str());
    const Tensor c = gt(random(sc, 1), 0), a = random(sa, 2), b = random(sb, 3);
    CHECK(gradcheck([&](const std::vector<Tensor>& in) { return where(c, in[0], in[1]); }, {a, b}).checked ==
          a.numel() + b.numel());
    gradcheck([&](const std::vector<Tensor>& in) { return where(c, in[0], scattered(b)); }, {scattered(a)});
  }
  const Tensor mask = gt(random({3, 1}, 4), 0);
  CHECK(gradcheck([&](const std::vector<Tensor>& in) { return masked_fill(in[0], mask, 7); },
                  {scattered(random({2, 3, 4}, 5))})
            .checked == 24);
  gradcheck([&](const std::vector<Tensor>& in) { return masked_fill(in[0], mask, 7); }, {random({0, 3, 1}, 5)});
}

TEST_CASE("long rows in parallel") {
  const Tensor a = random({100, 1000}, 1, float32), b = random({100, 1000}, 2, float32),
               c = gt(random({100, 1000}, 3, float32), 0);
  const Tensor y = where(c, a, b);
  const auto got = to_vector<float>(y), first = to_vector<float>(a), second = to_vector<float>(b);
  const auto chosen = to_vector<bool>(c);
  for (size_t i = 0; i < got.size(); ++i) REQUIRE(got[i] == (chosen[i] ? first[i] : second[i]));
  CHECK(test::same_for_any_threads([&] { return std::vector<Tensor>{where(c, a, b), masked_fill(a, c, 2)}; }));
}

TEST_CASE("errors") {
  const Tensor c = zeros({2}, boolean), f = zeros({2});
  CHECK(error_of([&] { where(f, f, f); }) ==
        "[where] the mask must be bool, got float32[2] (compare to make one: ne(mask, 0))");
  CHECK(error_of([&] { where(Tensor(), f, f); }).find("[where] the mask must be bool, got undefined") == 0);
  CHECK(error_of([&] { where(c, f, zeros({2}, float64)); }) ==
        "[where] dtypes differ: float32[2] and float64[2] (convert one with .to(...))");
  CHECK(error_of([&] { where(c, f, zeros({3})); }) ==
        "[where] float32[2] and float32[3] do not broadcast: axis -1 has lengths 2 and 3");
  CHECK(error_of([&] { where(c, zeros({3}), zeros({3})); }) ==
        "[where] [2] and [3] do not broadcast: axis -1 has lengths 2 and 3");
  CHECK(error_of([&] { masked_fill(zeros({1}), c, 0); }) ==
        "[masked_fill] the mask bool[2] does not broadcast to float32[1]");
  CHECK(error_of([&] { masked_fill(zeros({2}, int64), c, 0.5); }).find("[masked_fill] int64[2] takes whole numbers") ==
        0);
}
