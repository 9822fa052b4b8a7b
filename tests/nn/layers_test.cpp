#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "atlas/autograd/backward.h"
#include "atlas/core/rng.h"
#include "atlas/nn/activation.h"
#include "atlas/nn/attention.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/linear.h"
#include "atlas/nn/mamba.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/join.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/softmax.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/compare.h"

using namespace atlas;
using test::largest_difference;

namespace {

void check_all_gradients(const Module& m) {
  for (const auto& [name_, p] : m.named_parameters()) {
    const auto& name = name_;  // clang below 16 captures no structured binding
    CAPTURE(name);
    REQUIRE(p.grad().defined());
    CHECK(max(abs(p.grad())).item() > 0);
  }
}

}  // namespace

TEST_CASE("Linear") {
  const Linear fc(3, 2);
  Tensor w = fc.weight.detach(), b = fc.bias.detach();
  w.copy_(from_vector(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}));
  b.copy_(from_vector(std::vector<float>{10, 20}, {2}));
  const Tensor y = fc(ones({1, 1, 3}));
  CHECK(y.shape() == Shape{1, 1, 2});
  CHECK(y[0][0][0].item() == 16);
  CHECK(y[0][0][1].item() == 35);
  CHECK_FALSE(Linear(2, 2, false).bias.defined());
  CHECK_THROWS_WITH_AS(Linear(0, 2), "[Linear] in must be at least 1, got 0", Error);
  CHECK_THROWS_AS(fc(ones({1, 4})), Error);
}

TEST_CASE("Conv2d: strides, groups and errors") {
  const Conv2d conv(4, 6, 3, {.stride = {2, 2}, .padding = {1, 1}, .groups = 2}, false);
  CHECK(conv(ones({2, 8, 6, 4})).shape() == Shape{2, 4, 3, 6});
  CHECK(conv.state_dict().at("weight").shape() == Shape{6, 2, 3, 3});
  CHECK_THROWS_AS(Conv2d(3, 4, 3, {.groups = 2}), Error);
  CHECK_THROWS_AS(Conv2d(3, 4, 0), Error);
}

TEST_CASE("DepthwiseConv1d keeps the length") {
  const DepthwiseConv1d conv(4, 3);
  CHECK(conv(ones({2, 5, 4})).shape() == Shape{2, 5, 4});
  CHECK(conv(ones({2, 1, 4})).shape() == Shape{2, 1, 4});
}

TEST_CASE("BatchNorm2d counts and averages in training only") {
  manual_seed(1);
  BatchNorm2d bn(3);
  const Tensor x = randn({4, 5, 5, 3}) * 2.0 + 1.0;
  bn(x);
  CHECK(bn.num_batches_tracked.item<int64_t>() == 1);
  const Tensor by_channel = x.reshape({100, 3});
  CHECK(largest_difference(bn.running_mean, mean(by_channel, {0}) * 0.1) < 1e-6);
  CHECK(largest_difference(bn.running_var, var(by_channel, {0}) * 0.1 + 0.9) < 1e-6);
  bn.eval();
  const Tensor before = copy_of(bn.running_mean), y = bn(x);
  CHECK(bn.num_batches_tracked.item<int64_t>() == 1);
  CHECK(largest_difference(bn.running_mean, before) == 0);
  CHECK(largest_difference(y, (x - bn.running_mean) * rsqrt(bn.running_var + 1e-5)) < 1e-5);
}

TEST_CASE("LayerNorm uses its eps") {
  const LayerNorm norm(2, 3.0);
  const Tensor y = norm(from_vector(std::vector<float>{-1, 1}, {1, 2}));  // variance 1
  CHECK(y[0][1].item() == doctest::Approx(0.5));
}

TEST_CASE("Dropout and DropPath act in training only") {
  manual_seed(2);
  Dropout drop(0.25);
  DropPath path(0.5);
  const Tensor x = ones({400, 3});
  const Tensor y = path(x), there = y.to(Device{});
  int64_t kept = 0;
  for (int64_t i = 0; i < 400; ++i) {
    const float v = there.at<float>({i, 0});
    CHECK((v == 0 || v == 2));
    CHECK(v == there.at<float>({i, 2}));
    kept += v != 0;
  }
  CHECK(kept > 150);
  CHECK(kept < 250);
  CHECK(mean(drop(x)).item() == doctest::Approx(1).epsilon(0.1));
  CHECK(largest_difference(path(x), y) > 0);  // fresh numbers every time
  drop.eval();
  path.eval();
  CHECK(largest_difference(drop(x), x) == 0);
  CHECK(largest_difference(path(x), x) == 0);
  CHECK_THROWS_AS(Dropout(1.0), Error);
  CHECK_THROWS_AS(DropPath(-0.1), Error);
}

TEST_CASE("MaxPool2d: stride and padding") {
  CHECK(MaxPool2d(2)(ones({1, 6, 4, 2})).shape() == Shape{1, 3, 2, 2});
  CHECK(MaxPool2d(3, 2, 1)(ones({1, 7, 7, 2})).shape() == Shape{1, 4, 4, 2});
}

TEST_CASE("Mlp uses the exact GELU") {
  Mlp mlp(2, 5);
  mlp.to(float64);
  const Tensor x = from_vector(std::vector<double>{0.3, -0.7}, {1, 2});
  const Tensor h = mlp.fc1(x);
  const Tensor exact = h * 0.5 * (erf(h * std::sqrt(0.5)) + 1.0);
  CHECK(largest_difference(mlp(x), mlp.fc2(exact)) < 1e-14);
}

TEST_CASE("Attention agrees with its formula") {
  manual_seed(4);
  Attention attend(12, 3);
  attend.to(float64);
  const Tensor x = randn({2, 5, 12}).to(float64);
  const Tensor qkv = attend.qkv(x);
  std::vector<Tensor> heads;
  for (int64_t h = 0; h < 3; ++h) {
    const auto part = [&](int64_t which) { return qkv.slice(-1, which * 12 + h * 4, which * 12 + h * 4 + 4); };
    heads.push_back(matmul(softmax(matmul(part(0), part(1).transpose(1, 2)) * 0.5), part(2)));
  }
  const Tensor want = attend.proj(cat(heads, -1));
  CHECK(largest_difference(attend(x), want) < 1e-12);
  backward(sum(attend(x) * x));
  check_all_gradients(attend);
  CHECK_THROWS_AS(Attention(10, 3), Error);
  CHECK_THROWS_AS(attend(x.select(0, 0)), Error);
}

TEST_CASE("MambaMixer agrees with a recurrence written by hand") {
  manual_seed(6);
  const int64_t L = 7, C = 8, half = 4, N = 3, rank = 1;
  MambaMixer mixer(C, N, 3);
  mixer.to(float64);
  CHECK(mixer.A_log[1][2].item() == doctest::Approx(std::log(3.0)));
  Tensor bias = mixer.dt_proj.bias.detach(), log_a = mixer.A_log.detach(), d = mixer.D.detach();
  bias.copy_(randn({half}).to(float64));
  log_a.copy_(randn({half, N}).to(float64));
  d.copy_(randn({half}).to(float64));
  const Tensor x = randn({1, L, C}).to(float64);

  bias = bias.to(Device{}), log_a = log_a.to(Device{}), d = d.to(Device{});
  const Tensor inner = mixer.in_proj(x).detach().to(Device{});
  const Tensor conv_x = mixer.conv1d_x.weight.detach().to(Device{}),
               conv_z = mixer.conv1d_z.weight.detach().to(Device{});
  const auto silu_of = [](double v) { return v / (1 + std::exp(-v)); };
  const auto convolved = [&](int64_t t, int64_t c) {
    const Tensor& w = c < half ? conv_x : conv_z;  // [3, half]
    double sum = 0;
    for (int64_t k = 0; k < 3; ++k)
      if (t + k - 1 >= 0 && t + k - 1 < L) sum += w.at<double>({k, c % half}) * inner.at<double>({0, t + k - 1, c});
    return silu_of(sum);
  };
  Tensor u = empty({1, L, half}, float64, Device{}), joined = empty({1, L, C}, float64, Device{});
  for (int64_t t = 0; t < L; ++t)
    for (int64_t c = 0; c < C; ++c)
      (c < half ? u.at<double>({0, t, c}) : joined.at<double>({0, t, c})) = convolved(t, c);
  const Tensor projected = mixer.x_proj(u.to(x.device())).detach(), dbc = projected.to(Device{});
  const Tensor dt = mixer.dt_proj(projected.slice(-1, 0, rank)).detach().to(Device{});
  for (int64_t c = 0; c < half; ++c) {
    std::vector<double> h(static_cast<size_t>(N), 0.0);
    for (int64_t t = 0; t < L; ++t) {
      const double step = std::log1p(std::exp(dt.at<double>({0, t, c}) + bias.at<double>({c})));
      double y = d.at<double>({c}) * u.at<double>({0, t, c});
      for (int64_t n = 0; n < N; ++n) {
        double& state = h[static_cast<size_t>(n)];
        state = std::exp(-step * std::exp(log_a.at<double>({c, n}))) * state +
                step * u.at<double>({0, t, c}) * dbc.at<double>({0, t, rank + n});
        y += dbc.at<double>({0, t, rank + N + n}) * state;
      }
      joined.at<double>({0, t, c}) = y;
    }
  }
  CHECK(largest_difference(mixer(x), mixer.out_proj(joined.to(x.device()))) < 1e-12);
  backward(sum(mixer(x) * x));
  check_all_gradients(mixer);
  CHECK_THROWS_AS(MambaMixer(7), Error);
  CHECK_THROWS_AS(MambaMixer(8, 0), Error);
  CHECK_THROWS_AS(mixer(x.select(0, 0)), Error);
}

TEST_CASE("MambaMixer's published names and shapes") {
  const MambaMixer mixer(32, 8, 3);
  const StateDict dict = mixer.state_dict();
  CHECK(dict.size() == 9);
  CHECK(dict.at("A_log").shape() == Shape{16, 8});
  CHECK(dict.at("x_proj.weight").shape() == Shape{2 + 16, 16});
  CHECK(dict.at("dt_proj.weight").shape() == Shape{16, 2});
  CHECK(dict.at("conv1d_z.weight").shape() == Shape{16, 1, 3});
  CHECK_FALSE(dict.contains("in_proj.bias"));
}
