// checkpoint(): the same gradients and random numbers with less memory.
#include "atlas/autograd/checkpoint.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

using namespace atlas;

namespace {
/// y = a * b elementwise, float64; saves both.
Tensor times(const Tensor& a, const Tensor& b) {
  const auto product = [](const Tensor& p, const Tensor& q) {
    std::vector<double> y = to_vector<double>(p), c = to_vector<double>(q);
    for (size_t i = 0; i < y.size(); ++i) y[i] *= c[i];
    return from_vector(y, p.shape());
  };
  return record("times", product(a, b), {a, b},
                [product, a = Saved(a, "times"), b = Saved(b, "times")](const Tensor& dy) {
                  return Grads{product(dy, b()), product(dy, a())};
                });
}
std::vector<double> values(const Tensor& t) { return to_vector<double>(t); }
}  // namespace

TEST_CASE("gradients, values and random numbers are those of the plain run") {
  Tensor x = randn({50}, float64), w = randn({50}, float64);
  x.set_requires_grad();
  w.set_requires_grad();  // captured, not an argument
  int calls = 0, recomputed = 0;
  const auto block = [&](const Tensor& a, const Tensor& b) {
    ++calls;
    recomputed += is_recomputing() ? 1 : 0;
    return times(times(times(a, w), randn({50}, float64)), b);
  };
  const auto run = [&](bool with) {
    manual_seed(9);
    x.zero_grad();
    w.zero_grad();
    const Tensor c = full({50}, 2, float64);
    Tensor y = times(with ? checkpoint(block, x, c) : block(x, c), randn({50}, float64));
    randn({3});  // later draws must not disturb the recomputation, nor be disturbed by it
    backward(y, ones_like(y));
    return std::vector<std::vector<double>>{values(y), values(x.grad()), values(w.grad()), values(randn({5}, float64))};
  };
  const auto plain = run(false);
  CHECK(calls == 1);
  const auto less = run(true);
  CHECK(calls == 3);
  CHECK(recomputed == 1);
  CHECK(plain == less);
}

TEST_CASE("only captured parameters need gradients; grad mode off; errors pass") {
  Tensor w = full({3}, 2, float64);
  w.set_requires_grad();
  const Tensor x = full({3}, 5, float64);
  backward(checkpoint([&](const Tensor& a) { return times(a, w); }, x), ones({3}, float64));
  CHECK(w.grad()[0].item<double>() == 5);
  {
    const NoGrad off;
    CHECK_FALSE(checkpoint([&](const Tensor& a) { return times(a, w); }, x).requires_grad());
  }
  Tensor y = full({3}, 1, float64), changed = checkpoint([&](const Tensor&a) { return times(a, w); }, y);
  y.fill_(2);
  CHECK_THROWS_WITH_AS(backward(changed, ones({3}, float64)),
                       doctest::Contains("[checkpoint] a tensor needed for its gradient"), Error);
  Generator before = default_generator();
  const Tensor fails = checkpoint(
      [&](const Tensor& a) {
        check(!is_recomputing(), "block", "second run");
        return times(a, w);
      },
      x);
  CHECK_THROWS_WITH_AS(backward(fails, ones({3}, float64)), "[block] second run", Error);
  CHECK_FALSE(is_recomputing());
  CHECK(default_generator().stream == before.stream);
}

TEST_CASE("peak memory: blocks of a chain keep only their inputs") {
  const int64_t n = 4000;
  Tensor x = full({n}, 1, float64);
  x.set_requires_grad();
  const auto block = [](const Tensor& a) {
    Tensor y = a;
    for (int i = 0; i < 8; ++i) y = times(clone(y), clone(y));
    return y;
  };
  const auto peak = [&](bool with) {
    x.zero_grad();
    reset_peak_memory(default_device());
    const int64_t start = memory_stats(default_device()).current;
    Tensor y = x;
    for (int i = 0; i < 8; ++i) y = with ? checkpoint(block, y) : block(y);
    backward(y, ones_like(y));
    return memory_stats(default_device()).peak - start;
  };
  const int64_t plain = peak(false), less = peak(true);
  CHECK(plain > 100 * n * 8);
  CHECK(less < plain / 3);
}
