// One graph's leaves, and one model, used by several threads at once. The thread sanitizer runs this (preset tsan).
// ctest-device: cpu
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/nn/conv_norm.h"
#include "atlas/nn/linear.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/softmax.h"
#include "atlas/ops/unary.h"
#include "tests/ops/random_input.h"

using namespace atlas;

namespace {

/// f(0), f(1), ... on as many threads, all started before any goes on.
template <class F>
void at_once(int count, const F& f) {
  std::atomic<int> waiting{count};
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i)
    threads.emplace_back([&, i] {
      --waiting;
      while (waiting > 0) std::this_thread::yield();
      f(i);
    });
  for (std::thread& t : threads) t.join();
}

struct Net : Module {
  Conv2d conv{3, 4, 3};
  BatchNorm2d norm{4};
  ConvNorm conv_norm{conv, norm};
  LayerNorm layer_norm{4};
  Linear head{4, 5};
  Net() { register_modules({{"conv", conv}, {"norm", norm}, {"layer_norm", layer_norm}, {"head", head}}); }
  Tensor forward(const Tensor& x) const override {
    return log_softmax(head(mean(layer_norm(conv_norm(x, Activation::silu)), {1, 2})));
  }
};

}  // namespace

TEST_CASE("the first ops on a leaf may come from several threads") {
  for (int round = 0; round < 20; ++round) {
    Tensor leaf = test::random({8, 8}, 1).set_requires_grad();
    std::vector<Tensor> gradients(4);
    at_once(4, [&](int i) { gradients[static_cast<size_t>(i)] = grad({sum(square(leaf))}, {leaf})[0]; });
    for (const Tensor& g : gradients) CHECK(test::difference(g, mul(leaf.detach(), 2)) == 0);
  }
}

TEST_CASE("one model serves several threads, with and without NoGrad") {
  Net net;
  net.eval();
  const Tensor x = test::random({2, 6, 6, 3}, 2, float32);
  Tensor expected;
  {
    const NoGrad off;
    expected = net(x);
  }
  const std::vector<Tensor> weights = net.parameters();
  std::vector<std::vector<Tensor>> gradients(4);
  at_once(4, [&](int i) {
    for (int round = 0; round < 3; ++round) {
      if (i % 2 == 0) {
        const NoGrad off;
        CHECK(test::difference(net(x), expected) < 1e-5);
      } else {
        const Tensor y = net(x);
        CHECK(test::difference(y.detach(), expected) < 1e-5);
        gradients[static_cast<size_t>(i)] = grad({sum(square(y))}, weights);
      }
    }
  });
  for (size_t k = 0; k < weights.size(); ++k) CHECK(test::difference(gradients[1][k], gradients[3][k]) == 0);
}
