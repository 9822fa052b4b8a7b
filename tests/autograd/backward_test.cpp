// The engine: accumulation, diamonds, hooks, no_grad, versions, freed graphs, grad(), long chains.
#include "atlas/autograd/backward.h"

#include <doctest/doctest.h>

#include "atlas/autograd/node.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

using namespace atlas;

namespace {
/// y = factor * x; the smallest op there is.
Tensor scaled(const Tensor& x, double factor) {
  Tensor y = copy_of(x);
  scale_elements(y, factor);
  return record("scaled", std::move(y), {x}, [factor](const Tensor& dy) { return Grads{scaled(dy, factor)}; });
}
/// y = a + b for one shape.
Tensor plus(const Tensor& a, const Tensor& b) {
  Tensor y = copy_of(a);
  add_elements(y, b, 1);
  return record("plus", std::move(y), {a, b}, [](const Tensor& dy) { return Grads{dy, dy}; });
}
/// y = a * b elementwise; saves both.
Tensor times(const Tensor& a, const Tensor& b) {
  const auto product = [](const Tensor& p, const Tensor& q) {
    std::vector<float> y = to_vector<float>(p), c = to_vector<float>(q);
    for (size_t i = 0; i < y.size(); ++i) y[i] *= c[i];
    return from_vector(y, p.shape());
  };
  return record("times", product(a, b), {a, b},
                [product, a = Saved(a, "times"), b = Saved(b, "times")](const Tensor& dy) {
                  return Grads{product(dy, b()), product(dy, a())};
                });
}
Tensor leaf(double value, const Shape& shape = {}) {
  Tensor x = full(shape, value);
  return x.set_requires_grad();
}
}  // namespace

TEST_CASE("gradients accumulate over backward passes until dropped") {
  Tensor x = leaf(3);
  backward(times(x, x));
  CHECK(x.grad().item() == 6);
  scaled(x, 2).backward();
  CHECK(x.grad().item() == 8);
  x.zero_grad();
  CHECK_FALSE(x.grad());
}

TEST_CASE("diamonds: each node runs once, with the sum of what comes in") {
  int runs = 0;
  Tensor x = leaf(2);
  Tensor middle = record("counted", copy_of(x), {x}, [&runs](const Tensor& dy) {
    ++runs;
    return Grads{dy};
  });
  const Tensor left = scaled(middle, 3), right = scaled(scaled(middle, 5), 7);
  backward(plus(plus(left, right), middle));
  CHECK(runs == 1);
  CHECK(x.grad().item() == 3 + 35 + 1);
}

TEST_CASE("shared gradients are never changed in place") {
  Tensor a = leaf(1, {2}), b = leaf(1, {2});
  const Tensor seed = ones({2});
  backward(plus(plus(a, b), a), seed);  // plus hands the same dy to both sides
  CHECK(seed[0].item<float>() == 1);
  CHECK(a.grad()[1].item<float>() == 2);
  CHECK(b.grad()[1].item<float>() == 1);
  a.grad().fill_(100);
  CHECK(b.grad()[0].item<float>() == 1);
  CHECK(seed[1].item<float>() == 1);
}

TEST_CASE("hooks see the accumulated gradient, once per pass, and may replace it") {
  Tensor x = leaf(1);
  std::vector<double> seen;
  x.add_grad_hook([&](Tensor& g) { seen.push_back(g.item()); });
  backward(plus(scaled(x, 2), scaled(x, 3)));
  backward(scaled(x, 4));
  CHECK(seen == std::vector<double>{5, 9});
  Tensor y = leaf(1), z = leaf(1);
  y.add_grad_hook([](Tensor& g) { g = full({}, -1); });
  z.add_grad_hook([](Tensor& g) { g.mul_(10); });
  backward(plus(y, z));
  CHECK(y.grad().item() == -1);
  CHECK(z.grad().item() == 10);
}

TEST_CASE("NoGrad, detach, integer tensors stay outside the graph") {
  Tensor x = leaf(2);
  {
    const NoGrad off;
    CHECK_FALSE(scaled(x, 2).requires_grad());
    CHECK_FALSE(grad_enabled());
    const GradMode on(true);
    CHECK(scaled(x, 2).requires_grad());
  }
  CHECK(grad_enabled());
  CHECK_FALSE(x.detach().requires_grad());
  backward(times(x, scaled(x, 1).detach()));
  CHECK(x.grad().item() == 2);
  CHECK_THROWS_WITH_AS(zeros({2}, int64).set_requires_grad(),
                       "[set_requires_grad] only floating tensors have gradients, got int64[2]", Error);
  CHECK_THROWS_WITH_AS(
      scaled(x, 2).set_requires_grad(false),
      "[set_requires_grad] only leaves can be switched; this tensor is the result of scaled (detach it first)", Error);
}

TEST_CASE("a saved tensor that was changed in place is found out, through views as well") {
  Tensor a = leaf(2, {2}), b = full({2}, 3);
  const Tensor y = times(a, b);
  b[1].fill_(9);
  CHECK_THROWS_WITH_AS(
      backward(y, ones({2})),
      "[times] a tensor needed for its gradient, float32[2], was changed in place after the forward pass (clone it "
      "before changing)",
      Error);
  CHECK_THROWS_WITH_AS(a.fill_(1),
                       doctest::Contains("[fill_] changing float32[2] in place would invalidate its gradient"), Error);
  const NoGrad off;
  CHECK(a.fill_(1)[0].item<float>() == 1);
}

TEST_CASE("a second backward through a freed graph is an error; keep_graph allows it") {
  Tensor x = leaf(3);
  const Tensor y = times(x, x);
  backward(y, {}, true);
  backward(y);
  CHECK(x.grad().item() == 12);
  CHECK_THROWS_WITH_AS(
      backward(y),
      "[backward] the graph of times was already used and freed; pass keep_graph = true to the first backward", Error);
}

TEST_CASE("errors of backward") {
  Tensor x = leaf(1, {2});
  CHECK_THROWS_WITH_AS(backward(ones({})), "[backward] float32[] depends on no tensor that requires a gradient", Error);
  CHECK_THROWS_WITH_AS(backward(scaled(x, 2)),
                       "[backward] needs a scalar loss, got float32[2] (reduce it, or give a seed)", Error);
  CHECK_THROWS_WITH_AS(backward(scaled(x, 2), ones({3})), "[backward] seed float32[3] does not fit the loss float32[2]",
                       Error);
  const Tensor wrong = record("wrong", ones({}), {x}, [](const Tensor&) { return Grads{ones({3})}; });
  CHECK_THROWS_WITH_AS(backward(wrong), "[backward] wrong returned float32[3] as gradient of input 0, float32[2]",
                       Error);
  const Tensor few = record("few", ones({}), {x, x}, [](const Tensor&) { return Grads{ones({2})}; });
  CHECK_THROWS_WITH_AS(backward(few), "[backward] few returned 1 gradients for 2 inputs", Error);
}

TEST_CASE("grad(): leaves and intermediate tensors, several outputs, nothing accumulated") {
  Tensor x = leaf(2), z = leaf(5), unused = leaf(1);
  const Tensor y = scaled(x, 3), a = times(y, y), b = times(y, z);
  const auto g = grad({a, b}, {x, y, z, unused}, {full({}, 1), full({}, 10)});
  CHECK(g[0].item() == 3 * (2 * 6 + 10 * 5));
  CHECK(g[1].item() == 2 * 6 + 10 * 5);
  CHECK(g[2].item() == 60);
  CHECK_FALSE(g[3]);
  CHECK_FALSE(x.grad());
  CHECK(grad({scaled(x, 2)}, {x, x})[1].item() == 2);
  CHECK_THROWS_AS(grad({scaled(x, 2)}, {ones({})}), Error);
  CHECK_THROWS_AS(grad({ones({})}, {x}), Error);
  CHECK_THROWS_AS(grad({scaled(x, 2)}, {x}, {ones({}), ones({})}), Error);
}

TEST_CASE("a chain of 100,000 ops runs backward and is destroyed without recursion") {
  Tensor x = leaf(1);
  {
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = scaled(y, i % 2 == 0 ? 2 : 0.5);
    backward(y);
    CHECK(x.grad().item() == 1);
  }
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = plus(scaled(y, 0.5), scaled(y, 0.5));
  y = Tensor();  // destroyed without having been used
  const int64_t before = memory_stats(default_device()).current;
  { const Tensor z = times(x, x); }
  CHECK(memory_stats(default_device()).current == before);
}

TEST_CASE("backward frees saved tensors") {
  Tensor x = leaf(1, {1000});
  const int64_t before = memory_stats(default_device()).current;
  const Tensor y = times(scaled(x, 2), scaled(x, 3));
  CHECK(memory_stats(default_device()).current > before + 3 * 4000);
  backward(y, ones({1000}));
  CHECK(memory_stats(default_device()).current < before + 3 * 4096);  // y and the gradient
}

TEST_CASE("the result of a cheap op is computed again in backward instead of kept") {
  constexpr int64_t kCount = int64_t{1} << 21, kBytes = kCount * 4;
  int again = 0;
  const auto cheap = [&](const Tensor& x) {
    const Saved from(x, "cheap");
    return recomputable(scaled(x, 3), from, [from, &again] {
      ++again;
      return scaled(from(), 3);
    });
  };
  const Tensor x = leaf(2, {kCount}), w = leaf(5, {kCount});
  const int64_t before = memory_stats(default_device()).current;
  Tensor y = times(cheap(x), w);
  CHECK(memory_stats(default_device()).current <= before + kBytes);  // y; neither 3 x nor copies of x and w
  CHECK(again == 0);
  const Tensor seed = ones({kCount});
  backward(y, seed, true);
  CHECK(again == 1);
  CHECK(x.grad()[7].item() == 15);
  CHECK(w.grad()[7].item() == 6);
  backward(y, seed);
  CHECK(w.grad()[7].item() == 12);
  y = Tensor();

  // Of two cheap ops in a row, the second has nothing in memory to start from: its result is kept.
  again = 0;
  y = times(cheap(cheap(x)), w);
  backward(y, seed);
  CHECK(again == 0);  // cheap() itself saved x for recomputation only
  CHECK(w.grad()[7].item() == 12 + 18);

  // Small tensors are kept.
  again = 0;
  const Tensor a = leaf(2, {100}), b = leaf(5, {100});
  backward(times(cheap(a), b), ones({100}));
  CHECK(again == 0);
  CHECK(b.grad()[7].item() == 6);

  // What it starts from must not have changed meanwhile.
  Tensor z = times(cheap(x), w);
  x.detach().fill_(1);
  CHECK_THROWS_AS(backward(z, seed), Error);
}
