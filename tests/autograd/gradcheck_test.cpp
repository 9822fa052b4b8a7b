// gradcheck(): right gradients pass, each kind of wrong one is found out and named.
#include "atlas/autograd/gradcheck.h"

#include <doctest/doctest.h>

#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/join.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

using namespace atlas;

namespace {
using Inputs = std::vector<Tensor>;
/// y = x^2 with dx = factor * x * dy; `flat` reads dy as if it were contiguous.
Tensor square_with(const Tensor& x, double factor, bool flat = false) {
  std::vector<double> y = to_vector<double>(x);
  for (double& e : y) e *= e;
  return record("square", from_vector(y, x.shape()), {x}, [=, saved = Saved(x, "square")](const Tensor& dy) {
    const Shape strides = contiguous_strides(dy.shape());
    const auto g = to_vector<double>(flat ? raw_view(dy, dy.shape(), strides, dy.offset()) : dy);
    std::vector<double> dx = to_vector<double>(saved());
    for (size_t i = 0; i < dx.size(); ++i) dx[i] *= factor * g[i];
    return Grads{from_vector(dx, dy.shape())};
  });
}
}  // namespace

TEST_CASE("right gradients pass; inputs stay as they were") {
  const Tensor x = transpose(randn({3, 4}, float64), 0, 1);
  const Tensor before = copy_of(x);
  const GradcheckResult r = gradcheck([](const Inputs& v) { return square_with(v[0], 2); }, {x});
  CHECK(r.checked == 12);
  CHECK(r.max_difference < 1e-6);
  CHECK_FALSE(x.requires_grad());
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 3; ++j) CHECK(x[i][j].item<double>() == before[i][j].item<double>());
  GradcheckOptions few;
  few.max_elements = 5;
  CHECK(gradcheck([](const Inputs& v) { return square_with(v[0], 2); }, {randn({1000}, float64)}, few).checked == 5);
}

TEST_CASE("strides reach the function; integers pass through; expanded and empty inputs work") {
  Shape seen;
  const auto square = [&](const Inputs& v) {
    seen = v[0].strides();
    return square_with(v[0], 2);
  };
  gradcheck(square, {transpose(randn({3, 4}, float64), 0, 1)});
  CHECK(seen == Shape{1, 4});
  gradcheck(square, {slice(randn({3, 8}, float64), 1, 0, 8, 2)});
  CHECK(seen == Shape{8, 2});
  CHECK(gradcheck(square, {expand(randn({3, 1}, float64), {3, 4})}).checked == 12);
  CHECK(gradcheck(square, {zeros({3, 0}, float64)}).checked == 0);
  CHECK(gradcheck([](const Inputs& v) { return index_select(v[0], 0, v[1]); }, {randn({3}, float64), arange(2)})
            .checked == 3);
}

TEST_CASE("a wrong factor is found, with input, element and both values") {
  CHECK_THROWS_WITH_AS(
      gradcheck([](const Inputs& v) { return square_with(v[1], 3); }, {ones({1}, float64), full({2, 1}, 1, float64)}),
      doctest::Contains("[gradcheck] input 1 (float64[2,1]), element [0,0]: backward gives"), Error);
}

TEST_CASE("a backward that ignores the strides of dy is found") {
  CHECK_THROWS_WITH_AS(gradcheck([](const Inputs& v) { return square_with(v[0], 2, true); }, {randn({3, 4}, float64)}),
                       doctest::Contains("changes by"), Error);
}

TEST_CASE("a missing gradient, one that is NaN, a random function, wrong dtypes") {
  CHECK_THROWS_WITH_AS(gradcheck([](const Inputs& v) { return square_with(v[0].detach(), 2); }, {ones({2}, float64)}),
                       doctest::Contains("depends on none of the 1 inputs"), Error);
  CHECK_THROWS_AS(gradcheck(
                      [](const Inputs& v) {
                        return cat({square_with(v[0], 2), v[1].detach()}, 0);
                      },
                      {ones({2}, float64), ones({2}, float64)}),
                  Error);
  CHECK_THROWS_AS(gradcheck([](const Inputs& v) { return square_with(v[0], std::nan("")); }, {ones({2}, float64)}),
                  Error);
  int calls = 0;
  CHECK_THROWS_WITH_AS(gradcheck(
                           [&](const Inputs& v) {
                             Tensor y = square_with(v[0], 2);
                             const NoGrad off;
                             return y.add_(full({2}, calls++, float64));
                           },
                           {ones({2}, float64)}),
                       doctest::Contains("two evaluations of the function differ"), Error);
  CHECK_THROWS_WITH_AS(
      gradcheck([](const Inputs& v) { return v[0]; }, {ones({2})}),
      "[gradcheck] input 0 is float32[2], needs float64 (float32 is too coarse for finite differences)", Error);
}

TEST_CASE("random ops draw the same numbers in each evaluation") {
  manual_seed(4);
  gradcheck([](const Inputs& v) { return square_with(cat({v[0], randn({2}, float64)}, 0), 2); }, {ones({2}, float64)});
}
