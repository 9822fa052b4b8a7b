// softmax and log_softmax: values of PyTorch (tools/reference/check_test_tables.py), gradients, composites, extreme
// inputs, threads.
#include "atlas/ops/softmax.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

using Softmax = Tensor (*)(const Tensor&, int);

Op along(Softmax f, int axis) {
  return [=](const std::vector<Tensor>& in) { return f(in[0], axis); };
}

}  // namespace

TEST_CASE("softmax: values of PyTorch along each axis") {
  const Tensor x = wave({2, 3, 2}, 0.7, 0.3, 2);
  const Shape s{2, 3, 2};
  CHECK(difference(softmax(x, 0),
                   table({0.9273111156, 0.9692267052, 0.9388360529, 0.6743318947, 0.1655206667, 0.03907429451,
                          0.07268888441, 0.03077329478, 0.06116394708, 0.3256681053, 0.8344793333, 0.9609257055},
                         s)) < 1e-9);
  CHECK(difference(softmax(x, 1),
                   table({0.1777518044, 0.5642913404, 0.7152823984, 0.4048655637, 0.1069657972, 0.03084309584,
                          0.02322982964, 0.01843355358, 0.077691365, 0.2011728737, 0.8990788054, 0.7803935727},
                         s)) < 1e-9);
  CHECK(
      difference(softmax(x), table({0.2512603721, 0.7487396279, 0.6530341942, 0.3469658058, 0.7869901136, 0.2130098864,
                                    0.4531005439, 0.5468994561, 0.2024848025, 0.7975151975, 0.4309826107, 0.5690173893},
                                   s)) < 1e-9);
  CHECK(difference(log_softmax(x, 1),
                   table({-1.727367059, -0.5721845998, -0.3350778515, -0.9042002084, -2.235246148, -3.478842351,
                          -3.762318066, -3.993582711, -2.55501116, -1.603590672, -0.1063845894, -0.2479569062},
                         s)) < 1e-9);
  CHECK(difference(log_softmax(x, 2),
                   table({-1.381265538, -0.2893639822, -0.4261257864, -1.058529046, -0.2395395927, -1.546416699,
                          -0.791641227, -0.6034903031, -1.597090445, -0.2262543881, -0.8416875361, -0.5638442841},
                         s)) < 1e-9);
}

TEST_CASE("softmax: gradient check and composite along any axis") {
  for (const Shape& s : {Shape{7}, Shape{3, 1}, Shape{1, 4}, Shape{2, 5, 3}, Shape{3, 70}, Shape{2, 3, 2, 2}}) {
    for (int axis = -1; axis < s.size(); ++axis) {
      CAPTURE(s.str());
      CAPTURE(axis);
      CHECK(gradcheck(along(softmax, axis), {random(s, 1)}).checked > 0);
      CHECK(gradcheck(along(log_softmax, axis), {random(s, 1)}).checked > 0);
      CHECK(op_difference(along(softmax, axis), along(softmax_reference, axis), {random(s, 1)}) < 1e-13);
      CHECK(op_difference(along(log_softmax, axis), along(log_softmax_reference, axis), {random(s, 1)}) < 1e-13);
      CHECK(op_difference(along(softmax, axis), along(softmax_reference, axis), {random(s, 1, float32)}) < 2e-6);
      CHECK(op_difference(along(log_softmax, axis), along(log_softmax_reference, axis), {random(s, 1, float32)}) <
            5e-6);
    }
  }
  // Wider than one tile of columns.
  CHECK(op_difference(along(softmax, 1), along(softmax_reference, 1), {random({2, 5, 150}, 1)}) < 1e-13);
  CHECK(op_difference(along(log_softmax, 0), along(log_softmax_reference, 0), {random({5, 150}, 1)}) < 1e-13);
}

TEST_CASE("softmax: zero-size axes") {
  for (const Shape& s : {Shape{0, 3}, Shape{3, 0}, Shape{2, 0, 4}})
    for (int axis = 0; axis < s.size(); ++axis)
      CHECK(with_gradients(along(softmax, axis), {random(s, 1)})[1].shape() == s);
}

TEST_CASE("softmax: large, infinite and NaN inputs") {
  const double inf = INFINITY;
  CHECK(difference(softmax(table({1e4, 1e4 - 1, -1e4}, {3})),
                   table({1 / (1 + std::exp(-1.0)), 1 / (1 + std::exp(1.0)), 0}, {3})) < 1e-12);
  CHECK(difference(log_softmax(table({1e4, -1e4}, {2})), table({0, -2e4}, {2})) < 1e-12);
  CHECK(difference(softmax(table({0, -inf, 0}, {3}).to(float32)), table({0.5, 0, 0.5}, {3})) < 1e-7);
  CHECK(difference(softmax(table({0, 1, -inf, 1}, {2, 2}), 0), table({1, 0.5, 0, 0.5}, {2, 2})) < 1e-12);
  for (int axis : {0, 1}) {
    const Tensor y = softmax(table({1, NAN, 1, 1}, {2, 2}), axis);
    CHECK(std::isnan(y[0][1].item<double>()));
    CHECK(std::isnan(y[axis == 0 ? 1 : 0][axis == 0 ? 1 : 0].item<double>()));
    CHECK_FALSE(std::isnan(y[axis == 0 ? 0 : 1][0].item<double>()));
  }
}

TEST_CASE("softmax: threads do not matter") {
  for (int axis : {0, 1, 2})
    CHECK(same_for_any_threads([axis] {
      return with_gradients(along(softmax, axis), {random({20, 33, 70}, 1, float32)});
    }));
}

TEST_CASE("softmax: errors") {
  CHECK(error_of([] { softmax(random({2, 3}, 1), 2); }) == "[softmax] axis 2 is outside [-2, 2) of float64[2,3]");
  CHECK(error_of([] {
          log_softmax(random({2, 3}, 1), -3);
        }) == "[log_softmax] axis -3 is outside [-2, 2) of float64[2,3]");
  CHECK(error_of([] { softmax(empty({3}, int64)); }) ==
        "[softmax] needs float32 or float64, got int64[3] (convert with .to(atlas::float32))");
}

TEST_CASE("softmax: the saved result is guarded") {
  Tensor x = random({2, 3}, 1).set_requires_grad();
  const Tensor y = softmax(x);
  y.detach().mul_(2);
  CHECK(error_of([&] {
          backward(y, random({2, 3}, 2));
        }).find("[softmax] a tensor needed for its gradient, float64[2,3], was changed") == 0);
}
