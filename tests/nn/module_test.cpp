#include "atlas/nn/module.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "atlas/autograd/backward.h"
#include "atlas/core/rng.h"
#include "atlas/nn/activation.h"
#include "atlas/nn/container.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/finite_guard.h"
#include "atlas/nn/linear.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/compare.h"

using namespace atlas;
using test::message_of;

namespace {

//! [own layer]
/// y = x + scale · fc(x)
class Residual : public Module {
 public:
  explicit Residual(int64_t dim) : fc(dim, dim) {
    scale = empty({dim});
    constant_(scale, 0.5);
    register_parameter("scale", scale);
    register_module("fc", fc);
  }
  Tensor forward(const Tensor& x) const override { return x + scale * fc(x); }

  Tensor scale;
  Linear fc;
};
//! [own layer]

/// Everything a layer can get wrong, by choice.
class Wrong : public Module {
 public:
  explicit Wrong(int which) : child(1, 1) {
    t = empty({1});
    n = empty({1}, int64);
    if (which == 0) register_parameter("", t);
    if (which == 1) register_parameter("a.b", t);
    if (which == 2) {
      register_parameter("t", t);
      register_parameter("t", t);
    }
    if (which == 3) {
      register_buffer("x", t);
      register_module("x", child);
    }
    if (which == 4) register_parameter("n", n);
    if (which == 5) register_parameter("absent", absent);
    if (which == 6) register_module("self", *this);
  }
  Tensor t, n, absent;
  Linear child;
};

std::vector<std::string> names(const std::vector<std::pair<std::string, Tensor>>& list) {
  std::vector<std::string> some;
  for (const auto& [name, t] : list) some.push_back(name);
  return some;
}

}  // namespace

TEST_CASE("parameters are listed by dotted name, a module's own before its children's") {
  Residual m(3);
  CHECK(names(m.named_parameters()) == std::vector<std::string>{"scale", "fc.weight", "fc.bias"});
  CHECK(m.parameter_count() == 3 + 9 + 3);
  for (const Tensor& p : m.parameters()) CHECK(p.requires_grad());
  CHECK(m.named_buffers().empty());
  BatchNorm2d bn(4);
  CHECK(names(bn.named_buffers()) == std::vector<std::string>{"running_mean", "running_var", "num_batches_tracked"});
  CHECK(bn.num_batches_tracked.dtype() == int64);
  const auto modules = m.named_modules();
  REQUIRE(modules.size() == 2);
  CHECK(modules[0].first == "");
  CHECK(modules[1].first == "fc");
}

TEST_CASE("the count of batches may be missing from a file, as older PyTorch wrote none") {
  BatchNorm2d from(3), to(3);
  to.num_batches_tracked.fill_(5);
  from.running_mean.fill_(2);
  StateDict dict = from.state_dict();
  dict.erase("num_batches_tracked");
  CHECK(to.load_state_dict(dict).perfect());
  CHECK(to_vector<float>(to.running_mean)[1] == 2);
  CHECK(to.num_batches_tracked.item<int64_t>() == 5);
  dict.erase("running_var");
  CHECK_THROWS_AS(to.load_state_dict(dict), Error);
}

TEST_CASE("a wrong registration is refused") {
  CHECK(message_of([] { Wrong(0); }).find("is no name") != std::string::npos);
  CHECK(message_of([] { Wrong(1); }).find("'a.b' is no name") != std::string::npos);
  CHECK(message_of([] { Wrong(2); }).find("'t' is registered twice") != std::string::npos);
  CHECK(message_of([] { Wrong(3); }).find("'x' is registered twice") != std::string::npos);
  CHECK(message_of([] { Wrong(4); }).find("must be a floating tensor") != std::string::npos);
  CHECK(message_of([] { Wrong(5); }).find("must be a floating tensor, got undefined") != std::string::npos);
  CHECK(message_of([] { Wrong(6); }).find("its own child") != std::string::npos);
  CHECK_NOTHROW(Wrong(7));
}

TEST_CASE("train and eval reach every module") {
  Sequential net;
  net.add<Linear>(2, 2);
  auto& inner = net.add<Sequential>();
  inner.add<Dropout>(0.5);
  CHECK(inner[0].training());
  net.eval();
  CHECK_FALSE(net.training());
  CHECK_FALSE(inner[0].training());
  net.train();
  CHECK(inner[0].training());
}

TEST_CASE("gradients reach a module's parameters and zero_grad drops them") {
  Residual m(2);
  backward(sum(m(ones({1, 2}))));
  for (const Tensor& p : m.parameters()) CHECK(p.grad().defined());
  m.zero_grad();
  for (const Tensor& p : m.parameters()) CHECK_FALSE(p.grad().defined());
}

TEST_CASE("state_dict shares memory, and its layout is the published one") {
  Conv2d conv(3, 2, 5);
  const StateDict dict = conv.state_dict();
  const Tensor& w = dict.at("weight");
  CHECK(w.shape() == Shape{2, 3, 5, 5});
  CHECK(conv.weight.shape() == Shape{2, 5, 5, 3});
  for (const int64_t o : {0, 1})
    for (const int64_t i : {0, 2})
      for (const int64_t y : {0, 4})
        for (const int64_t x : {1, 3}) CHECK(w[o][i][y][x].item() == conv.weight[o][y][x][i].item());
  w.detach()[1][2][3][4].fill_(42);
  CHECK(conv.weight[1][3][4][2].item() == 42);

  DepthwiseConv1d depthwise(4, 3);
  const Tensor d = depthwise.state_dict().at("weight");
  CHECK(d.shape() == Shape{4, 1, 3});
  CHECK(d[2][0][1].item() == depthwise.weight[1][2].item());
}

TEST_CASE("a state goes from one module to another") {
  manual_seed(1);
  Sequential a, b;
  for (Sequential* net : {&a, &b}) {
    net->add<Conv2d>(3, 4, 3);
    net->add<BatchNorm2d>(4);
  }
  a[1].eval();
  Tensor count = a.state_dict().at("1.num_batches_tracked");
  count.fill_(7);
  StateDict snapshot;
  for (const auto& [name, t] : a.state_dict()) snapshot[name] = copy_of(t).to(t.dtype() == int64 ? int64 : float64);
  const LoadReport report = b.load_state_dict(snapshot);
  CHECK(report.perfect());
  for (const auto& [name_, t] : b.state_dict()) {
    const auto& name = name_;  // clang below 16 captures no structured binding
    CAPTURE(name);
    const Tensor want = a.state_dict().at(name);
    CHECK(want.dtype() == t.dtype());
    CHECK(to_vector<double>(want.to(float64)) == to_vector<double>(t.to(float64)));
  }
  CHECK(b.state_dict().at("1.num_batches_tracked").item<int64_t>() == 7);
}

TEST_CASE("a state that does not fit is listed and changes nothing") {
  Residual m(3);
  const float before = m.fc.weight[0][0].item<float>();
  StateDict dict{{"fc.weight", zeros({3, 3})}, {"fc.bias", zeros({2})}, {"head.weight", zeros({1})}};
  const std::string text = message_of([&] { m.load_state_dict(dict, Strictness::allow_both); });
  CHECK(text.find("1 missing: scale") != std::string::npos);
  CHECK(text.find("1 unexpected: head.weight") != std::string::npos);
  CHECK(text.find("fc.bias: model float32[3], file float32[2]") != std::string::npos);
  CHECK(m.fc.weight[0][0].item<float>() == before);

  dict["fc.bias"] = zeros({3});
  CHECK_FALSE(message_of([&] { m.load_state_dict(dict); }).empty());
  CHECK_FALSE(message_of([&] { m.load_state_dict(dict, Strictness::allow_missing); }).empty());
  CHECK_FALSE(message_of([&] { m.load_state_dict(dict, Strictness::allow_unexpected); }).empty());
  CHECK(m.fc.weight[0][0].item<float>() == before);
  const LoadReport report = m.load_state_dict(dict, Strictness::allow_both);
  CHECK(report.missing == std::vector<std::string>{"scale"});
  CHECK(report.unexpected == std::vector<std::string>{"head.weight"});
  CHECK(m.fc.weight[0][0].item<float>() == 0);

  dict["fc.bias"] = zeros({3}, int64);
  CHECK(message_of([&] { m.load_state_dict(dict, Strictness::allow_both); }).find("of another shape or kind") !=
        std::string::npos);
}

TEST_CASE("long lists in a load error are cut at ten names") {
  Sequential net;
  for (int i = 0; i < 12; ++i) net.add<Linear>(1, 1, false);
  const std::string text = message_of([&] { net.load_state_dict({}); });
  CHECK(text.find("12 missing: 0.weight") != std::string::npos);
  CHECK(text.find("and 2 more") != std::string::npos);
}

TEST_CASE("loading counts as a change in place") {
  Linear fc(2, 2);
  const Tensor x = ones({1, 2}).set_requires_grad();
  const Tensor y = sum(fc(x));
  fc.load_state_dict(copy_of(fc.weight).defined() ? fc.state_dict() : StateDict{});
  CHECK(message_of([&] { backward(y); }).find("changed in place") != std::string::npos);
}

TEST_CASE("to(dtype) keeps every handle valid") {
  Sequential net;
  net.add<Linear>(2, 2);
  net.add<BatchNorm2d>(2);
  const Tensor held = net.parameters()[0];
  net.to(float64);
  CHECK(held.dtype() == float64);
  CHECK(held.is(net.parameters()[0]));
  CHECK(net.state_dict().at("1.num_batches_tracked").dtype() == int64);
  CHECK(net.state_dict().at("1.running_var").dtype() == float64);
  const Tensor y = net(ones({3, 2}, float64));
  CHECK(y.dtype() == float64);
  backward(sum(y));
  CHECK(held.grad().dtype() == float64);
  net.to(float32);
  CHECK_FALSE(held.grad().defined());
  CHECK_THROWS_AS(net.to(int64), Error);
}

TEST_CASE("containers name their children and check indices") {
  Sequential net;
  net.add<Linear>(2, 3);
  net.add<ReLU>();
  net.add<Linear>(3, 1, false);
  CHECK(names(net.named_parameters()) == std::vector<std::string>{"0.weight", "0.bias", "2.weight"});
  CHECK(net(ones({5, 2})).shape() == Shape{5, 1});
  CHECK_THROWS_AS(net[3], Error);
  ModuleList<Linear> list;
  list.add(1, 1);
  CHECK(list[0].weight.shape() == Shape{1, 1});
  CHECK_THROWS_AS(list[1], Error);
  CHECK(message_of([&] { list(ones({1})); }).find("has no forward(x)") != std::string::npos);
}

TEST_CASE("FiniteGuard names the first module whose output is not finite") {
  Sequential net;
  net.add<Linear>(2, 2);
  auto& inner = net.add<Sequential>();
  inner.add<Linear>(2, 2);
  auto& bad = inner.add<Linear>(2, 2);
  net.add<ReLU>();
  const Tensor x = ones({1, 2});
  {
    const FiniteGuard guard(net);
    net(x);
    CHECK(guard.first_bad().empty());
  }
  constant_(bad.bias, std::numeric_limits<double>::infinity());
  {
    const FiniteGuard guard(net);
    net(x);
    CHECK(guard.first_bad() == "1.1");
  }
  const FiniteGuard guard(bad);
  net(x);
  CHECK(guard.first_bad() == "(the model's output)");
}

TEST_CASE("all_finite") {
  CHECK(all_finite(ones({4})));
  CHECK(all_finite(zeros({0})));
  CHECK(all_finite(full({2}, std::numeric_limits<float>::max())));
  CHECK_FALSE(all_finite(full({3, 2}, std::nan("")).transpose(0, 1)));
  CHECK_FALSE(all_finite(full({1}, -std::numeric_limits<double>::infinity(), float64)));
  CHECK(all_finite(ones({2}, int64)));
}

TEST_CASE("a part adds no name: what is below it is called as if it stood in the module itself") {
  struct Part : Module {
    Part() : first(2, 3) {
      register_module("first", first);
      register_parameter("scale", scale);
    }
    Linear first;
    Tensor scale = ones({3});
  };
  struct Whole : Module {
    Whole() : last(3, 1) {
      register_part(part);
      register_module("last", last);
    }
    Part part;
    Linear last;
  };
  Whole whole;
  std::vector<std::string> names, modules;
  for (const auto& parameter : whole.named_parameters()) names.push_back(parameter.first);
  for (const auto& module : whole.named_modules()) modules.push_back(module.first);
  CHECK(names == std::vector<std::string>{"scale", "first.weight", "first.bias", "last.weight", "last.bias"});
  CHECK(modules == std::vector<std::string>{"", "first", "last"});
  whole.eval();
  CHECK_FALSE(whole.part.training());
  CHECK_FALSE(whole.part.first.training());
  whole.freeze();
  CHECK_FALSE(whole.part.scale.requires_grad());

  // Names of a part and of the module meet in one list.
  struct Twice : Module {
    explicit Twice(bool part_first) : first(1, 1) {
      if (part_first) register_part(part);
      register_module("first", first);
      register_part(part);
    }
    Part part;
    Linear first;
  };
  CHECK_THROWS_WITH_AS(Twice(true), "[module] the name 'first' is registered twice", Error);
  CHECK_THROWS_WITH_AS(Twice(false), "[module] the name 'first' is registered twice", Error);
}
