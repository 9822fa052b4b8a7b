// float32 against float64 on the same numbers: what an offset of all inputs costs, and what is promised where a true
// gradient vanishes.
#include <doctest/doctest.h>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/resize.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/softmax.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

/// Largest difference of the op's result and gradients in float32 from those in float64, on float32 inputs.
double float32_error(const Op& op, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> wide;
  for (const Tensor& t : inputs) {
    wide.push_back(empty(t.shape(), is_floating(t.dtype()) ? float64 : t.dtype(), t.device()));
    copy_elements(wide.back(), t);
  }
  const auto got = with_gradients(op, inputs), expected = with_gradients(op, wide);
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, difference(got[i], expected[i]));
  return worst;
}

/// Normal values around `offset`.
Tensor around(double offset, const Shape& shape, uint64_t seed) { return (random(shape, seed) + offset).to(float32); }

}  // namespace

TEST_CASE("precision: an offset of all inputs costs float32 no digits") {
  for (const double offset : {0.0, 1e4, 1e5, -1e5, 1e6}) {
    CAPTURE(offset);
    for (const Shape& s : {Shape{6, 10}, Shape{3, 1000}, Shape{70, 9}, Shape{2, 5, 80}}) {
      CAPTURE(s.str());
      const Tensor x = around(offset, s, 1), w = random({s.back()}, 2, float32), b = random({s.back()}, 3, float32);
      for (int axis = 0; axis < s.size(); ++axis) {
        CAPTURE(axis);
        CHECK(float32_error([&](const auto& in) { return log_softmax(in[0], axis); }, {x}) < 4e-6);
        CHECK(float32_error([&](const auto& in) { return softmax(in[0], axis); }, {x}) < 2e-6);
        CHECK(float32_error([&](const auto& in) { return var(in[0], {axis}); }, {x}) < 4e-6);
        // The gradient of a softmax does not change when the same number is added to all of dy.
        CHECK(float32_error([&](const auto& in) { return mul(softmax(in[0], axis), in[1]); },
                            {random(s, 4, float32), x.detach()}) <
              (offset == 0 ? 4e-6 : 4e-6 * std::abs(offset)));  // times dy, of which y is a gradient
      }
      CHECK(float32_error([](const auto& in) { return layer_norm(in[0], in[1], in[2]); }, {x, w, b}) < 1e-5);
      CHECK(float32_error([](const auto& in) { return batch_norm(in[0], in[1], in[2], {}, {}, true); }, {x, w, b}) <
            1e-5);
      CHECK(
          float32_error(
              [](const auto& in) { return batch_norm(in[0], in[1], in[2], {}, {}, true, 0.1, 1e-5, Activation::silu); },
              {x, w, b}) < 1e-5);
      if (s.size() == 2) {
        const Tensor labels = empty({s[0]}, int64).fill_(0);
        CHECK(float32_error([&](const auto& in) { return cross_entropy(in[0], labels, 0.1); }, {x}) < 4e-6);
      }
    }
  }
}

TEST_CASE("precision: an offset costs the gradient of logsumexp no digits") {
  for (const int axis : {0, 1}) {
    const Tensor x = around(1e5, {40, 50}, 1).set_requires_grad();
    const Tensor wide = x.detach().to(float64).set_requires_grad();
    const Tensor dx = grad({sum(logsumexp(x, {axis}))}, {x})[0];
    CHECK(difference(dx, grad({sum(logsumexp(wide, {axis}))}, {wide})[0]) < 1e-6);
  }
}

TEST_CASE("precision: what all of dy has in common costs the gradient of a softmax no digits") {
  for (const int axis : {0, 1}) {
    Tensor x = random({40, 50}, 1, float32).set_requires_grad();
    Tensor wide = x.detach().to(float64).set_requires_grad();
    const Tensor dy = around(1e4, {40, 50}, 2);
    const Tensor dx = grad({softmax(x, axis)}, {x}, {dy})[0];
    CHECK(difference(dx, grad({softmax(wide, axis)}, {wide}, {dy.to(float64)})[0]) < 1e-6);
  }
}

// A gradient is a sum of terms. What is promised (atlas/README.md) is a part of the largest of them, not of their sum:
// where the true gradient vanishes, their rounding is all there is.
TEST_CASE("precision: averages along long axes, and gradients of long sums, are as exact as short ones") {
  for (const Shape& s : {Shape{1, 20000, 1, 2}, Shape{1, 1, 20000, 3}, Shape{1, 150, 140, 2}}) {
    CAPTURE(s.str());
    const Tensor x = around(1, s, 1);
    CHECK(float32_error([](const auto& in) { return adaptive_avg_pool2d(in[0], 1, 1); }, {x}) < 4e-7);
    for (const Interpolation mode : {Interpolation::bilinear, Interpolation::bicubic})
      CHECK(float32_error([&](const auto& in) { return resize(in[0], 1, 1, mode, true); }, {x}) < 6e-7);
    // The gradient of what becomes larger is a sum.
    const auto enlarged = [&](const auto& in) {
      return mul(resize(in[0], s[1], s[2], Interpolation::bilinear), in[1]) * 1e-4;
    };
    CHECK(float32_error(enlarged, {ones({1, 1, 1, s[3]}), x}) < 1e-6);
  }
}

TEST_CASE("precision: where a true gradient vanishes, rounding of its terms is left and no more") {
  for (const DType dtype : {float32, float64}) {
    CAPTURE(name(dtype));
    const double unit = dtype == float32 ? 0x1p-24 : 0x1p-53;
    for (const Shape& s : {Shape{9, 1}, Shape{9, 2}, Shape{40, 7}, Shape{4, 1000}}) {
      CAPTURE(s.str());
      const auto vanishes = [&](const Op& op, double terms, const Tensor& dy) {
        const Tensor x = random(s, 1, dtype).set_requires_grad();
        for (const double v : to_vector<double>(grad({op({x})}, {x}, {dy})[0].to(float64)))
          CHECK(std::abs(v) <= 8 * unit * terms);
      };
      const Tensor constant = full(s, 0.7, dtype), any = random(s, 2, dtype), w = full({s[1]}, 1.3, dtype);
      const double rstd = 1 / std::sqrt(1e-5);  // the largest there is
      // All of dy weight is the same, and the norm takes its mean away.
      vanishes([&](const auto& in) { return layer_norm(in[0], w, {}); }, rstd * 0.7 * 1.3, constant);
      vanishes([&](const auto& in) { return batch_norm(in[0], w, {}, {}, {}, true); }, rstd * 0.7 * 1.3, constant);
      vanishes([](const auto& in) { return softmax(in[0]); }, 0.7, constant);
      if (s[1] > 1) continue;
      // One channel is its own mean, and alone has all the probability.
      vanishes([&](const auto& in) { return layer_norm(in[0], w, {}); }, rstd * 4 * 1.3, any);
      vanishes([](const auto& in) { return softmax(in[0]); }, 4, any);
      vanishes([](const auto& in) { return log_softmax(in[0]); }, 4, any);
      vanishes([](const auto& in) { return var(in[0], {1}, true, false); }, 4, any);
    }
  }
}

// Scores are sums of products, and an error of a score is a relative error of its probability. Where one key has all
// the weight, gradients of q and k vanish, and the rounding of their terms is left.
TEST_CASE("precision: saturated attention is as exact as its scores") {
  for (const double size : {1.0, 10.0, 40.0}) {
    CAPTURE(size);
    const Shape s{2, 24, 2, 16};
    const Tensor q = mul(random(s, 1, float32), size), k = mul(random(s, 2, float32), size), v = random(s, 3, float32),
                 dy = random(s, 4, float32);
    const auto run = [&](DType dtype) {
      std::vector<Tensor> in;
      for (const Tensor& t : {q, k, v}) in.push_back(t.detach().to(dtype).clone().set_requires_grad());
      const Tensor y = attention(in[0], in[1], in[2]);
      std::vector<Tensor> all = grad({y}, in, {dy.to(dtype)});
      all.insert(all.begin(), y.detach());
      return all;
    };
    const std::vector<Tensor> got = run(float32), expected = run(float64);
    const auto largest = [](const Tensor& t) { return difference(t.detach(), zeros_like(t.detach())); };
    // |q . k| / sqrt(D) is at most sqrt(D) |q| |k| by elements; sums of probabilities are 1, those over queries L.
    const double scores = 4 * largest(q) * largest(k), unit = 4 * 0x1p-24 * (1 + scores), length = 24;
    const double through = 16 * largest(dy) * largest(v) / 4;  // dy . v, times the scale of the scores
    CHECK(difference(got[0], expected[0]) <= unit * largest(v));
    CHECK(difference(got[1], expected[1]) <= unit * through * largest(k));
    CHECK(difference(got[2], expected[2]) <= unit * through * largest(q) * length);
    CHECK(difference(got[3], expected[3]) <= unit * largest(dy) * length);
    if (size > 20) {  // nearly every row has one key alone: the true gradients are almost all zero
      int64_t small = 0;
      for (const double g : to_vector<double>(expected[1].to(float64))) small += std::abs(g) < 1e-6 ? 1 : 0;
      CHECK(small > expected[1].numel() / 2);
    }
  }
}
