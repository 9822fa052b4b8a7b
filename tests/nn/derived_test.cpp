// What layers keep between inferences: when it is used, when it is thrown away, and that it gives the same numbers.
#include "atlas/ops/derived.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/nn/activation.h"
#include "atlas/nn/container.h"
#include "atlas/nn/conv_norm.h"
#include "atlas/nn/finite_guard.h"
#include "atlas/nn/mamba.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/compare.h"

using namespace atlas;
using test::largest_difference;

namespace {

void randomize(const Module& m) {
  const NoGrad off;
  for (const StateEntry& e : m.state_entries()) {
    Tensor t = e.tensor;
    if (t.dtype() == int64) continue;
    if (e.name.ends_with("running_var"))
      t.copy_(rand(t.shape()) + 0.5);
    else
      t.copy_(randn(t.shape()));
  }
}

struct TwoLayers : Module {
  explicit TwoLayers(bool bias = true) : conv(3, 4, 3, {.stride = {2, 1}, .padding = {1, 0}}, bias), norm(4, 1e-3) {
    register_modules({{"conv", conv}, {"norm", norm}});
    randomize(*this);
  }
  Tensor forward(const Tensor& x) const override { return both(x); }
  Tensor unfolded(const Tensor& x) const {
    const Tensor y = conv(x);
    return norm(y);
  }
  Conv2d conv;
  BatchNorm2d norm;
  ConvNorm both{conv, norm};
};

}  // namespace

TEST_CASE("a derived value is computed once, and again for every kind of change") {
  Tensor w = zeros({4}), other = ones({2, 2});
  const Derived<Tensor> derived;
  int computed = 0;
  const auto get = [&](const Shape& sizes = {}) {
    return derived.get(
        {w, other, Tensor()},
        [&] {
          ++computed;
          return w + 1.0;
        },
        sizes);
  };
  const NoGrad off;
  const Tensor first = get();
  CHECK(get().is(first));
  CHECK(computed == 1);
  w.fill_(3);  // changed in place
  CHECK(get()[0].item<float>() == 4);
  CHECK(computed == 2);
  w.detach().add_(ones({4}));  // through another handle
  CHECK(get()[0].item<float>() == 5);
  w = w.to(float64);  // converted
  CHECK(get().dtype() == float64);
  other = other.transpose(0, 1);  // another view of the same memory
  get();
  CHECK(computed == 5);
  get({2});
  CHECK(computed == 6);
  get({2});
  CHECK(computed == 6);
  derived.clear();
  get({2});
  CHECK(computed == 7);
  for (int i = 0; i < 10; ++i) {  // memory that is freed and handed out again is not taken for the old
    w = Tensor();
    w = full({4}, i);
    CHECK(get()[0].item<float>() == static_cast<float>(i + 1));
  }
  Tensor element = raw_view(w, {}, {}, 0);
  fill_elements(element, 100);  // not noticed until it is said
  CHECK(get()[0].item<float>() != 101);
  w.bump_version();
  CHECK(get()[0].item<float>() == 101);
}

TEST_CASE("while gradients are recorded nothing is kept") {
  Tensor w = ones({4});
  w.set_requires_grad();
  const Derived<Tensor> derived;
  int computed = 0;
  const auto get = [&] {
    return derived.get({w}, [&] {
      ++computed;
      return w * 2.0;
    });
  };
  {
    const NoGrad off;
    CHECK_FALSE(get().requires_grad());
  }
  CHECK(get().requires_grad());
  backward(sum(get()));
  CHECK(w.grad()[0].item<float>() == 2);
  CHECK(computed == 3);
}

TEST_CASE("a derived value may be asked for by several threads") {
  const Tensor w = ones({1000});
  const Derived<Tensor> derived;
  std::atomic<int> computed = 0;
  std::vector<std::thread> threads;
  std::vector<Tensor> got(4);
  for (size_t i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      const NoGrad off;
      got[i] = derived.get({w}, [&] {
        ++computed;
        return w + 1.0;
      });
    });
  for (auto& t : threads) t.join();
  CHECK(computed == 1);
  for (const Tensor& t : got) CHECK(t.is(got[0]));
}

TEST_CASE("ConvNorm folds in inference only, and follows its layers") {
  manual_seed(1);
  for (const bool bias : {true, false}) {
    TwoLayers pair(bias);
    const Tensor x = randn({2, 7, 6, 3});
    pair.eval();
    const auto agrees = [&] {
      const NoGrad off;
      const Tensor want = pair.unfolded(x);
      CHECK(largest_difference(pair(x), want) < 1e-5 * max(abs(want)).item());
    };
    CHECK(largest_difference(pair(x), pair.unfolded(x)) == 0);  // recorded: one after the other
    agrees();
    {
      const NoGrad off;
      CHECK(largest_difference(pair(x), pair.unfolded(x)) > 0);  // folded: rounds differently
      const FiniteGuard guard(pair);
      CHECK(largest_difference(pair(x), pair.unfolded(x)) == 0);  // watched: every layer is run
    }
    for (const char* name : {"conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"}) {
      CAPTURE(name);
      const NoGrad off;
      Tensor t = pair.state_dict().at(name);
      t.mul_(1.5);
      agrees();
    }
    pair.train();
    {
      const NoGrad off;
      Tensor kept_mean = copy_of(pair.norm.running_mean), kept_var = copy_of(pair.norm.running_var);
      const Tensor y = pair(x);  // moves the running statistics
      CHECK(largest_difference(pair.norm.running_mean, kept_mean) > 0);
      pair.norm.running_mean.copy_(kept_mean);
      pair.norm.running_var.copy_(kept_var);
      CHECK(largest_difference(pair.unfolded(x), y) == 0);
    }
    pair.eval();
    agrees();
    const TwoLayers fresh(bias);
    pair.load_state_dict(fresh.state_dict());
    agrees();
    pair.to(float64);
    const NoGrad off;
    CHECK(largest_difference(pair(x.to(float64)), pair.unfolded(x.to(float64))) < 1e-12);
  }
}

TEST_CASE("Sequential folds its convolutions, and names stay") {
  manual_seed(2);
  Sequential net;
  net.add<Conv2d>(3, 4, 3);
  net.add<BatchNorm2d>(4);
  net.add<GELU>();
  net.add<BatchNorm2d>(4);  // no convolution before it
  net.add<Conv2d>(4, 2, 1);
  net.add<BatchNorm2d>(2);
  randomize(net);
  net.eval();
  CHECK(net.state_dict().contains("5.running_var"));
  CHECK(net.size() == 6);
  const Tensor x = randn({1, 6, 6, 3}), want = net(x);
  const NoGrad off;
  Tensor y = x;
  for (size_t i = 0; i < net.size(); ++i) y = net[i](y);
  CHECK(largest_difference(y, want) == 0);
  const double moved = largest_difference(net(x), want);
  CHECK(moved > 0);
  CHECK(moved < 1e-5 * max(abs(want)).item());
}

TEST_CASE("MambaMixer follows its weights in inference") {
  manual_seed(3);
  MambaMixer mixer(8, 4);
  const Tensor x = randn({2, 5, 8});
  for (int i = 0; i < 3; ++i) {
    const Tensor want = mixer(x);
    const NoGrad off;
    CHECK(largest_difference(mixer(x), want) == 0);
    CHECK(largest_difference(mixer(x), want) == 0);
    mixer.A_log.add_(ones({4, 4}), 0.3);
    mixer.conv1d_z.weight.mul_(1.1);
  }
}

TEST_CASE("a depthwise convolution with norm and activation behind it, which no kernel joins") {
  Sequential net;
  net.add<Conv2d>(6, 6, 3, Conv2dOptions{.padding = {1, 1}, .groups = 6});
  net.add<BatchNorm2d>(6);
  net.add<ReLU>();
  randomize(net);
  net.eval();
  const Tensor x = randn({2, 5, 4, 6}), recorded = net(x);
  const NoGrad off;
  CHECK(largest_difference(net(x), recorded) < 1e-5);
}

TEST_CASE("who watches sees every layer, apart from the others, and the numbers stay") {
  struct Net : Module {
    Net() : mixer(8), mlp(8, 16) {
      body.add<Conv2d>(3, 4, 3);
      body.add<BatchNorm2d>(4);
      body.add<GELU>();
      body.add<Conv2d>(4, 8, 1);
      register_modules({{"body", body}, {"mixer", mixer}, {"mlp", mlp}});
      randomize(*this);
    }
    Tensor forward(const Tensor& x) const override {
      const Tensor y = body(x), tokens = y.reshape({y.size(0), y.size(1) * y.size(2), 8});
      return mlp.onto(mixer.onto(tokens, tokens), tokens);
    }
    Sequential body;
    MambaMixer mixer;
    Mlp mlp;
  } net;
  net.eval();
  const Tensor x = randn({2, 5, 6, 3}), recorded = net(x);
  const NoGrad off;
  const Tensor joined = net(x);
  std::vector<const void*> seen;
  {
    const LayerWatch watch([&](const void* layer, const Tensor&) { seen.push_back(layer); });
    std::vector<const void*> inner;
    {
      const LayerWatch other([&](const void* layer, const Tensor&) { inner.push_back(layer); });
      net(x);
    }
    CHECK(seen.empty());
    CHECK(largest_difference(net(x), recorded) == 0);
    CHECK(seen == inner);
  }
  for (const auto& named : net.named_modules()) {
    const std::string& path = named.first;
    const auto& module = named.second;
    CAPTURE(path);
    // Both depthwise convolutions of a mixer are one op, whoever watches; no layer stands for one of them.
    const bool one_op = path.find("conv1d") != std::string::npos;
    CHECK(std::count(seen.begin(), seen.end(), module) == (one_op ? 0 : 1));
  }
  const size_t count = seen.size();
  CHECK(largest_difference(net(x), joined) == 0);
  CHECK(seen.size() == count);
  CHECK(largest_difference(joined, recorded) < 1e-4 * (1 + max(abs(recorded)).item()));
}
