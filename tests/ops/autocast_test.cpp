// bfloat16 as a type to compute in: what it gives on CUDA devices, types of results and gradients, and that the CPU
// says no.
#include "atlas/autograd/autocast.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/checkpoint.h"
#include "atlas/autograd/node.h"
#include "atlas/core/cuda.h"
#include "atlas/core/precision.h"
#include "atlas/core/rng.h"
#include "atlas/models/presets.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/scan.h"
#include "atlas/ops/softmax.h"
#include "atlas/ops/unary.h"
#include "atlas/optim/adam.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/cuda_device.h"

using namespace atlas;
using test::have_device;
using test::kDevice;
using test::message_of;

namespace {

/// Normal numbers on the CPU, whatever the default device is.
Tensor normal(const Shape& shape) { return randn(shape, float32, default_generator(), Device{}); }
std::vector<double> numbers(const Tensor& t) { return to_vector<double>(on_host(t).to(float64)); }
/// |a - b| / |b|
double apart(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = numbers(a), y = numbers(b);
  REQUIRE(x.size() == y.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    size += y[i] * y[i];
  }
  return std::sqrt(difference / std::max(size, 1e-300));
}

/// An op on float32 tensors on the CPU against the same on the device in mixed precision: results and gradients.
template <class F>
void check_mixed(const char* op, F f, const std::vector<Tensor>& inputs, DType result = bfloat16,
                 double tolerance = 0.01) {
  CAPTURE(std::string(op));
  std::vector<Tensor> here, there;
  for (const Tensor& t : inputs) {
    here.push_back(t.clone().set_requires_grad());
    there.push_back(t.to(kDevice).clone().set_requires_grad());
  }
  const Tensor want = f(here);
  const Tensor weights = normal(want.shape());
  Tensor got;
  {
    const Autocast mixed;
    got = f(there);
  }
  CHECK(got.dtype() == result);
  CHECK(apart(got, want) < tolerance);
  backward(want, weights);
  backward(got, weights.to(kDevice).to(got.dtype()));  // after the guard: types are those of the forward pass
  for (size_t i = 0; i < inputs.size(); ++i) {
    CAPTURE(i);
    REQUIRE(there[i].grad().defined());
    CHECK(there[i].grad().dtype() == float32);
    CHECK(apart(there[i].grad(), here[i].grad()) < 2 * tolerance);
  }
}

}  // namespace

TEST_CASE("Autocast does nothing to tensors on the CPU, where bfloat16 stays a type to store") {
  manual_seed(1);
  const Tensor x = normal({3, 4}), w = normal({5, 4});
  const Tensor plain = linear(x, w);
  {
    const Autocast mixed;
    CHECK(autocast_dtype() == bfloat16);
    const Tensor y = linear(x, w);
    CHECK(y.dtype() == float32);
    CHECK(apart(y, plain) == 0);
    {
      const Autocast off(float32);
      CHECK(autocast_dtype() == float32);
    }
    CHECK(autocast_dtype() == bfloat16);
  }
  CHECK(autocast_dtype() == float32);
  CHECK(message_of([&] { matmul(x.to(bfloat16), x.to(bfloat16)); }).find("needs float32 or float64") !=
        std::string::npos);
  CHECK(message_of([&] { add(x, x.to(bfloat16)); }).find("dtypes differ") != std::string::npos);
  CHECK(message_of([&] { const Autocast half(float16); }) ==
        "[autocast] computes in bfloat16 or float32, not in float16");
}

TEST_CASE("What does not compute is refused by name, with the types that do on that device") {
  const auto refuses = [](const std::string& op, const Tensor& t, auto&& f) {
    for (DType dtype : {float16, bfloat16, int64}) {
      const Tensor operand = t.to(dtype);
      if (computes_as_float(operand)) continue;
      const std::string text = message_of([&] { f(operand); });
      CHECK_MESSAGE(text.find("[" + op + "] needs float32" + (t.device().is_cuda() ? ", bfloat16" : "") +
                              " or float64, got " + std::string(name(dtype))) == 0,
                    text);
      CHECK_MESSAGE(text.find("convert with .to(atlas::float32))") != std::string::npos, text);
      if (dtype == bfloat16) CHECK(text.find("bfloat16 computes on CUDA devices alone") != std::string::npos);
    }
  };
  const Tensor m = ones({2, 2}), image = ones({1, 2, 2, 2}), steps = ones({1, 3, 2});
  // Of one type, and beside float32, which would fit no better as another one.
  refuses("matmul", m, [](const Tensor& t) { matmul(t, t); });
  refuses("matmul", m, [&](const Tensor& t) { matmul(m, t); });
  refuses("linear", m, [](const Tensor& t) { linear(t, t); });
  refuses("linear", m, [&](const Tensor& t) { linear(t, m); });
  refuses("linear", m, [&](const Tensor& t) { linear(m, m, t[0]); });
  refuses("conv2d", image, [](const Tensor& t) { conv2d(t, t); });
  refuses("conv2d", image, [&](const Tensor& t) { conv2d(image, t); });
  refuses("conv1d_depthwise", steps, [&](const Tensor& t) { conv1d_depthwise(t, m); });
  refuses("attention", image, [](const Tensor& t) { attention(t, t, t); });
  refuses("attention", image, [&](const Tensor& t) { attention(image, image, t); });
}

TEST_CASE("Mixed precision: results within bfloat16's rounding, gradients in float32" * doctest::skip(!have_device())) {
  manual_seed(2);
  using In = const std::vector<Tensor>&;
  check_mixed("matmul", [](In t) { return matmul(t[0], t[1]); }, {normal({2, 9, 16}), normal({16, 12})});
  check_mixed("linear", [](In t) { return linear(t[0], t[1], t[2]); },
              {normal({3, 7, 16}), normal({24, 16}), normal({24})});
  check_mixed("conv2d",
              [](In t) {
                return conv2d(t[0], t[1], t[2], {.stride = {2, 2}, .padding = {1, 1}});
              },
              {normal({2, 9, 9, 8}), normal({16, 3, 3, 8}), normal({16})});
  check_mixed("depthwise conv2d",
              [](In t) {
                return conv2d(t[0], t[1], t[2], {.padding = {1, 1}, .groups = 8});
              },
              {normal({2, 7, 6, 8}), normal({8, 3, 3, 1}), normal({8})});
  check_mixed("conv1d", [](In t) { return conv1d_depthwise(t[0], t[1], t[2]); },
              {normal({2, 9, 8}), normal({3, 8}), normal({8})});
  check_mixed(
      "attention", [](In t) { return attention(t[0], t[1], t[2]); },
      {normal({2, 10, 2, 16}), normal({2, 12, 2, 16}), normal({2, 12, 2, 16})}, bfloat16, 0.02);
  check_mixed(
      "scan", [](In t) { return selective_scan(t[0], t[1], neg(exp(t[2])), t[3], t[4], t[5], t[6]); },
      {normal({2, 9, 8}), normal({2, 9, 8}), normal({8, 4}), normal({2, 9, 4}), normal({2, 9, 4}), normal({8}),
       normal({8})},
      bfloat16, 0.02);
  // What follows a product keeps its type; weights of norms stay float32.
  check_mixed(
      "layer_norm", [](In t) { return layer_norm(linear(t[0], t[1]), t[2], t[3]); },
      {normal({6, 16}), normal({24, 16}), normal({24}), normal({24})}, bfloat16, 0.02);
  check_mixed(
      "batch_norm", [](In t) { return batch_norm(conv2d(t[0], t[1]), t[2], t[3], {}, {}, true); },
      {normal({3, 4, 4, 8}), normal({8, 1, 1, 8}), normal({8}), normal({8})}, bfloat16, 0.02);
  check_mixed(
      "gelu, pool",
      [](In t) {
        return max_pool2d(gelu(conv2d(t[0], t[1])), {2, 2}, {2, 2});
      },
      {normal({1, 6, 6, 8}), normal({8, 1, 1, 8})}, bfloat16, 0.02);
  check_mixed(
      "softmax", [](In t) { return softmax(matmul(t[0], t[1])); }, {normal({5, 8}), normal({8, 6})}, bfloat16, 0.05);
  // bfloat16 and float32 give float32.
  check_mixed(
      "residual", [](In t) { return t[0] + linear(t[0], t[1]); }, {normal({5, 8}), normal({8, 8})}, float32);
  check_mixed(
      "scale", [](In t) { return linear(t[0], t[1]) * t[2]; }, {normal({5, 8}), normal({8, 8}), normal({8})}, float32);
  const Tensor labels = from_vector<int64_t>({1, 0, 4}, {3}, Device{});
  check_mixed(
      "cross_entropy",
      [&](In t) {
        const Tensor logits = linear(t[0], t[1]);
        return cross_entropy(logits, labels.to(logits.device()));
      },
      {normal({3, 8}), normal({5, 8})}, float32, 0.02);
  check_mixed("checkpoint", [](In t) { return checkpoint([w = t[1]](const Tensor& x) { return linear(x, w); }, t[0]); },
              {normal({3, 8}), normal({5, 8})});
}

TEST_CASE("Inference in bfloat16 needs no guard, and leaves what is recorded alone" * doctest::skip(!have_device())) {
  const Tensor x = normal({5, 12}), w = normal({7, 12}), there = x.to(kDevice);
  Tensor weight = w.to(kDevice).clone().set_requires_grad();
  const InferencePrecision fast(bfloat16);
  CHECK(linear(there, weight).dtype() == float32);
  const NoGrad off;
  for (int i = 0; i < 200; ++i) linear(there, weight.clone());  // weights that come and go do not pile up
  const int64_t before = memory_stats(kDevice).current;
  for (int i = 0; i < 200; ++i) linear(there, weight.clone());
  CHECK(memory_stats(kDevice).current < before + 200 * 7 * 12 * 2);
  CHECK(linear(there, weight).dtype() == bfloat16);
  CHECK(apart(linear(there, weight), linear(x, w)) < 0.01);
}

TEST_CASE("A weight is converted once under a guard, and again when it has changed" * doctest::skip(!have_device())) {
  const Tensor x = ones({1, 4}).to(kDevice);
  Tensor w = ones({1, 4}).to(kDevice);
  const NoGrad off;
  const auto y = [&] { return linear(x, w).to(float32).item<double>(); };
  {
    const Autocast mixed;
    CHECK(y() == 4);
    w.fill_(2);
    CHECK(y() == 8);
  }
  const Autocast again;
  CHECK(y() == 8);
  w.mul_(0.5);
  CHECK(y() == 4);
}

TEST_CASE("A small model learns in mixed precision" * doctest::skip(!have_device())) {
  manual_seed(3);
  const char* options = R"({"drop_path_rate": 0})";
  for (const char* name : {"atlas-toy", "mambavision-toy"}) {
    CAPTURE(std::string(name));
    const auto model = models::make_model(name, {.image_size = 32, .num_classes = 4, .overrides = options});
    model->to(kDevice);
    AdamW optimizer(decay_groups(*model, 0.01), {.lr = 2e-3});
    const Tensor images = normal({4, 32, 32, 3}).to(kDevice), labels = from_vector<int64_t>({0, 1, 2, 3}).to(kDevice);
    double first = 0, last = 0;
    for (int step = 0; step < 5; ++step) {
      Tensor loss;
      {
        const Autocast mixed;
        loss = cross_entropy((*model)(images), labels);
      }
      CHECK(loss.dtype() == float32);
      backward(loss);
      for (const Tensor& p : model->parameters())
        if (p.grad().defined()) CHECK(p.grad().dtype() == float32);
      optimizer.step();
      optimizer.zero_grad();
      last = loss.item();
      if (step == 0) first = last;
    }
    CHECK(last < 0.8 * first);
  }
}
