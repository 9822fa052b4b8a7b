#include "atlas/io/formula.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/nn/conv.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"

using namespace atlas;

TEST_CASE("hash and generator give the published constants") {
  CHECK(fnv1a64("") == 0xcbf29ce484222325u);
  CHECK(fnv1a64("a") == 0xaf63dc4c8601ec8cu);
  // First outputs of splitmix64 seeded with 1234567: finalizer of seed + k * golden gamma.
  CHECK(io::splitmix64(1234567u + 0x9e3779b97f4a7c15u) == 6457827717110365317u);
  CHECK(io::splitmix64(1234567u + 2 * 0x9e3779b97f4a7c15u) == 3203168211198807973u);
  for (int64_t i = 0; i < 1000; ++i) {
    const double u = io::formula_uniform(fnv1a64("input"), i);
    CHECK(u >= -1);
    CHECK(u < 1);
  }
}

TEST_CASE("the rule follows from the name") {
  const auto rule = [](const char* name, Shape shape) {
    const io::FormulaRule r = io::formula_rule(name, shape);
    return std::pair(r.offset, r.scale);
  };
  using P = std::pair<double, double>;
  CHECK(rule("a.running_var", {3}) == P(1, 0.5));
  CHECK(rule("a.running_mean", {3}) == P(0, 0.1));
  CHECK(rule("a.num_batches_tracked", {}) == P(0, 0));
  CHECK(rule("D", {3}) == P(1, 0.1));
  CHECK(rule("x.gamma_2", {3}) == P(0.5, 0.1));
  CHECK(rule("norm.weight", {3}) == P(1, 0.1));
  CHECK(rule("norm.bias", {3}) == P(0, 0.1));
  CHECK(rule("fc.weight", {7, 3}) == P(0, 1.0));
  CHECK(rule("conv.weight", {7, 3, 2, 2}) == P(0, 0.5));
  CHECK(io::formula_rule("m.A_log", {4, 8}).log_column);
}

TEST_CASE("weights are filled in the published order of elements") {
  Conv2d conv(3, 2, 3);
  io::formula_fill(conv);
  const uint64_t hash = fnv1a64("weight");
  for (int64_t o = 0; o < 2; ++o)
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t y = 0; y < 3; ++y)
        for (int64_t x = 0; x < 3; ++x)
          CHECK(conv.weight.at<float>({o, y, x, i}) ==
                static_cast<float>(io::formula_uniform(hash, ((o * 3 + i) * 3 + y) * 3 + x) * std::sqrt(3.0 / 27)));
  BatchNorm2d bn(2);
  bn.to(float64);
  io::formula_fill(bn);
  CHECK(bn.running_var.at<double>({1}) == 1 + 0.5 * io::formula_uniform(fnv1a64("running_var"), 1));
  CHECK(bn.num_batches_tracked.item<int64_t>() == 0);
}

TEST_CASE("images are channels-last views of the published order") {
  const Tensor image = io::formula_image(2, 4, 5, float64);
  CHECK(image.shape() == Shape{2, 4, 5, 3});
  CHECK(image.is_contiguous());
  CHECK(image.at<double>({1, 2, 3, 2}) == io::formula_uniform(fnv1a64("input"), ((1 * 3 + 2) * 4 + 2) * 5 + 3));
  const Tensor flat = io::formula_tensor("probe", {7}, float64);
  CHECK(flat.at<double>({6}) == io::formula_uniform(fnv1a64("probe"), 6));
}
