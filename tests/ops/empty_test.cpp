// Axes of length 0: an inner one is a sum of nothing. And operands of many axes that lie in memory in odd ways.
#include <doctest/doctest.h>

#include "atlas/autograd/node.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/join.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/scan.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

/// Fills the allocator's free blocks of small sizes with 7, so that what an op leaves unwritten does not look like 0.
void dirty_memory() {
  std::vector<Tensor> all;
  for (int64_t n = 16; n <= 1 << 16; n *= 2)
    for (int i = 0; i < 8; ++i) all.push_back(empty({n}).fill_(7));
}

/// The op's result and gradients in float32 and float64 agree. Returns those in float32.
std::vector<Tensor> agreeing(const Op& op, const std::vector<Shape>& shapes) {
  std::vector<Tensor> narrow, wide;
  for (size_t i = 0; i < shapes.size(); ++i) {
    narrow.push_back(random(shapes[i], i + 1, float32));
    wide.push_back(empty(shapes[i], float64));
    copy_elements(wide.back(), narrow.back());
  }
  dirty_memory();
  const auto y = with_gradients(op, narrow), expected = with_gradients(op, wide);
  for (size_t i = 0; i < y.size(); ++i) CHECK(difference(y[i], expected[i]) < 1e-5);
  return y;
}

}  // namespace

TEST_CASE("empty: a product with an inner axis of 0 is 0, or the bias") {
  const Op product = [](const auto& in) { return matmul(in[0], in[1]); };
  for (const auto& [a, b] : {std::pair{Shape{3, 0}, Shape{0, 4}},
                             {{2, 3, 0}, {2, 0, 4}},
                             {{5, 2, 3, 0}, {0, 4}},
                             {{0}, {0}},
                             {{0}, {0, 4}},
                             {{200, 0}, {0, 300}},
                             {{2, 0, 3}, {3, 4}},
                             {{3, 2, 0, 5}, {5, 2}}})
    for (const double v : to_vector<float>(agreeing(product, {a, b})[0])) CHECK(v == 0);
  const Op affine = [](const auto& in) { return linear(in[0], in[1], in[2]); };
  for (const Shape& x : {Shape{3, 0}, Shape{2, 5, 0}, Shape{1, 300, 0}}) {
    const Tensor y = agreeing(affine, {x, {4, 0}, {4}})[0];
    CHECK(difference(y, expand(random({4}, 3, float32), y.shape())) == 0);
  }
}

TEST_CASE("empty: linear and mlp take an axis of 0 anywhere") {
  for (const Shape& x : {Shape{0, 3}, Shape{2, 0, 3}, Shape{2, 5, 0, 3}, Shape{0, 2, 3}, Shape{2, 0, 4, 3}}) {
    Shape to = x;
    to[x.size() - 1] = 4;
    CHECK(agreeing([](const auto& in) { return linear(in[0], in[1], in[2]); }, {x, {4, 3}, {4}})[0].shape() == to);
    const Op perceptron = [](const auto& in) { return mlp(in[0], in[1], in[2], in[3], in[4]); };
    CHECK(agreeing(perceptron, {x, {6, 3}, {6}, {4, 6}, {4}})[0].shape() == to);
    const NoGrad off;
    CHECK(linear(random(x, 1), random({4, 3}, 2)).shape() == to);
  }
}

TEST_CASE("empty: a convolution without input channels gives its bias") {
  const auto with = [](Conv2dOptions o) {
    return Op([o](const auto& in) { return conv2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), o); });
  };
  for (const auto& [x, w, o] : {std::tuple{Shape{2, 1, 7, 0}, Shape{3, 1, 3, 0}, Conv2dOptions{}},
                                {Shape{192, 1, 7, 0}, Shape{3, 3, 3, 0}, Conv2dOptions{.padding = {1, 0}}},
                                {Shape{2, 9, 9, 0}, Shape{64, 3, 3, 0}, Conv2dOptions{.padding = {1, 1}}},
                                {Shape{2, 9, 9, 0}, Shape{4, 1, 1, 0}, Conv2dOptions{}},
                                {Shape{2, 9, 9, 0}, Shape{4, 2, 2, 0}, Conv2dOptions{.stride = {2, 2}, .groups = 2}}}) {
    const Tensor y = agreeing(with(o), {x, w, {w[0]}})[0];
    CHECK(difference(y, expand(random({w[0]}, 3, float32), y.shape())) == 0);
    for (const float v : to_vector<float>(agreeing(with(o), {x, w})[0])) CHECK(v == 0);
  }
  // Other axes of 0: no images, no output channels, images of nothing but padding.
  agreeing(with({}), {{0, 5, 5, 4}, {3, 3, 3, 4}, {3}});
  agreeing(with({}), {{2, 5, 5, 4}, {0, 3, 3, 4}, {0}});
  agreeing(with({.padding = {2, 2}}), {{2, 0, 5, 4}, {3, 3, 3, 4}, {3}});
  agreeing(with({.padding = {2, 2}, .groups = 2}), {{2, 5, 0, 4}, {6, 3, 3, 2}, {6}});
  agreeing(with({.padding = {2, 2}, .groups = 4}), {{2, 5, 0, 4}, {4, 3, 3, 1}, {4}});
  agreeing([](const auto& in) { return conv1d_depthwise(in[0], in[1], in[2]); }, {{2, 5, 0}, {3, 0}, {0}});
  agreeing([](const auto& in) { return conv1d_depthwise(in[0], in[1], in[2]); }, {{2, 0, 4}, {3, 4}, {4}});
}

TEST_CASE("empty: attention without queries, keys, heads or batch") {
  const Op attend = [](const auto& in) { return attention(in[0], in[1], in[2]); };
  for (const auto& [q, kv] : {std::pair{Shape{2, 0, 3, 4}, Shape{2, 5, 3, 4}},
                              {{2, 5, 3, 4}, {2, 0, 3, 4}},
                              {{2, 5, 0, 4}, {2, 5, 0, 4}},
                              {{0, 5, 3, 4}, {0, 5, 3, 4}},
                              {{0, 5, 3, 4}, {1, 5, 3, 4}}})
    agreeing(attend, {q, kv, kv});
}

TEST_CASE("empty: a scan without states is its skip connection") {
  const Op scan = [](const auto& in) { return selective_scan(in[0], in[1], in[2], in[3], in[4], in[5], in[6]); };
  for (const auto& [u, states] : {std::pair{Shape{2, 5, 3}, 0}, {{2, 0, 3}, 4}, {{0, 5, 3}, 4}, {{2, 5, 0}, 4}}) {
    const Shape bc{u[0], u[1], states};
    const Tensor y = agreeing(scan, {u, u, {u[2], states}, bc, bc, {u[2]}, {u[2]}})[0];
    if (states == 0) CHECK(difference(y, mul(random(u, 1, float32), random({u[2]}, 6, float32))) < 1e-6);
  }
}

TEST_CASE("fused ops read strided and permuted operands of many axes, forward and backward") {
  const auto permuted = [](const Shape& shape, const Shape& axes, uint64_t seed, DType dtype) {
    return permute(random(shape, seed, dtype), axes);
  };
  for (const DType dtype : {float64, float32}) {
    CAPTURE(name(dtype));
    const double limit = dtype == float64 ? 1e-12 : 2e-5;
    const Tensor w1 = random({6, 3}, 2, dtype), b1 = random({6}, 3, dtype), w2 = random({5, 6}, 4, dtype),
                 b2 = random({5}, 5, dtype);
    for (const Tensor& x :
         {permuted({3, 3, 12}, {2, 1, 0}, 1, dtype), permuted({3, 12, 3, 1, 1, 2}, {5, 1, 2, 3, 4, 0}, 1, dtype),
          random({4, 5, 6, 3}, 1, dtype).slice(1, 0, 5, 2), random({4, 5, 6}, 1, dtype).slice(2, 0, 6, 2),
          expand(random({1, 5, 3}, 1, dtype), {4, 5, 3}), permuted({2, 3, 4, 5}, {0, 2, 3, 1}, 1, dtype)}) {
      CAPTURE(x.shape().str());
      // The operands are passed as they lie: detach() keeps strides.
      const Op fused = [](const auto& in) { return mlp(in[0], in[1], in[2], in[3], in[4]); };
      const Op plain = [](const auto& in) { return mlp_reference(in[0].contiguous(), in[1], in[2], in[3], in[4]); };
      const auto y = with_gradients(fused, {x, w1, b1, w2, b2}), z = with_gradients(plain, {x, w1, b1, w2, b2});
      for (size_t i = 0; i < y.size(); ++i) CHECK(difference(y[i], z[i]) < limit);
      const auto u = with_gradients([](const auto&in) { return linear(in[0], in[1], in[2]); }, {x, w1, b1}),
                 v = with_gradients(
                     [](const auto&in) {
                       return matmul(in[0].contiguous(), in[1].transpose(0, 1).contiguous()) + in[2];
                     },
                     {x, w1, b1});
      for (size_t i = 0; i < u.size(); ++i) CHECK(difference(u[i], v[i]) < limit);
    }
  }
}
