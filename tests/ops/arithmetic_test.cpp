// Arithmetic with broadcasting against loops over the broadcast operands; gradients, sum_to, numbers, error texts.
#include "atlas/ops/arithmetic.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "random_input.h"

using namespace atlas;
using test::difference;
using test::error_of;
using test::random;
using test::same_bits;
using test::scattered;

namespace {

struct Operation {
  const char* name;
  Tensor (*op)(const Tensor&, const Tensor&);
  double (*reference)(double, double);
};
const Operation kOperations[] = {
    {"add", add, [](double a, double b) { return a + b; }},
    {"sub", sub, [](double a, double b) { return a - b; }},
    {"mul", mul, [](double a, double b) { return a * b; }},
    {"div", div, [](double a, double b) { return a / b; }},
    {"maximum", maximum, [](double a, double b) { return std::max(a, b); }},
    {"minimum", minimum, [](double a, double b) { return std::min(a, b); }},
};

const std::pair<Shape, Shape> kShapes[] = {
    {{2, 3}, {2, 3}}, {{2, 3, 4}, {4}}, {{2, 3, 4}, {3, 1}}, {{4, 1, 3}, {1, 2, 1}}, {{}, {2, 3}},
    {{3}, {}},        {{}, {}},         {{1}, {5}},          {{2, 1, 3}, {2, 4, 3}}, {{1, 1, 2}, {3, 1, 1, 2}},
    {{0, 3}, {3}},    {{1}, {0}},       {{2, 0, 3}, {1, 3}}, {{5, 1}, {1, 6}},
};

Tensor repeated(const Tensor& t, const Shape& shape) {
  Tensor y = empty(shape, float64);
  copy_elements(y, t);
  return y;
}

Tensor naive(const Operation& f, const Tensor& a, const Tensor& b) {
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), "test");
  std::vector<double> y = to_vector<double>(repeated(a, shape));
  const std::vector<double> q = to_vector<double>(repeated(b, shape));
  for (size_t i = 0; i < y.size(); ++i) y[i] = f.reference(y[i], q[i]);
  return from_vector(y, shape);
}

Tensor as(const Tensor& t, DType dtype) {
  Tensor y = empty(t.shape(), dtype);
  copy_elements(y, t);
  return y;
}

/// Values with an absolute value in [0.5, 2.5], so that division is well conditioned.
Tensor values(const Shape& shape, uint64_t seed) {
  Generator g{seed, 0};
  std::vector<double> y = to_vector<double>(uniform(shape, 0.5, 2.5, float64, g));
  const std::vector<double> sign = to_vector<double>(random(shape, seed));
  for (size_t i = 0; i < y.size(); ++i) y[i] = std::copysign(y[i], sign[i]);
  return from_vector(y, shape);
}

}  // namespace

TEST_CASE("values of broadcast operands, contiguous and not") {
  for (const Operation& f : kOperations) {
    for (const auto& [sa_, sb_] : kShapes) {
      const auto &sa = sa_, &sb = sb_;  // clang below 16 captures no structured binding
      CAPTURE(f.name);
      CAPTURE(sa.str());
      CAPTURE(sb.str());
      const Tensor a = values(sa, 1), b = values(sb, 2), want = naive(f, a, b);
      CHECK(difference(f.op(a, b), want) == 0);
      CHECK(difference(f.op(scattered(a), b), want) == 0);
      CHECK(difference(f.op(scattered(a), scattered(b)), want) == 0);
      const Tensor y = f.op(as(a, float32), as(b, float32));
      CHECK(y.dtype() == float32);
      CHECK(difference(y, want) < 1e-6);
    }
  }
}

TEST_CASE("gradients, of both operands and of one alone") {
  for (const Operation& f : kOperations) {
    for (const auto& [sa_, sb_] : kShapes) {
      const auto &sa = sa_, &sb = sb_;  // clang below 16 captures no structured binding
      CAPTURE(f.name);
      CAPTURE(sa.str());
      CAPTURE(sb.str());
      const Tensor a = values(sa, 1), b = values(sb, 2);
      CHECK(gradcheck([&](const std::vector<Tensor>& in) { return f.op(in[0], in[1]); }, {a, scattered(b)}).checked ==
            a.numel() + b.numel());
      gradcheck([&](const std::vector<Tensor>& in) { return f.op(in[0], b); }, {a});
      gradcheck([&](const std::vector<Tensor>& in) { return f.op(a, in[0]); }, {b});
    }
  }
  gradcheck([](const std::vector<Tensor>& in) { return in[0] * in[0] + in[0]; }, {values({3}, 1)});
}

TEST_CASE("an operand without gradient keeps nothing alive and may change") {
  Tensor a = ones({3}), b = ones({3});
  a.set_requires_grad();
  const Tensor y = mul(a, b);
  a.detach().fill_(5);  // needed only for the gradient of b, which is not asked for
  backward(y, ones({3}));
  CHECK(difference(a.grad(), ones({3})) == 0);
  const Tensor z = mul(a, b);
  b.fill_(2);
  CHECK(error_of([&] { backward(z, ones({3})); }).find("[mul] a tensor needed for its gradient") == 0);
}

TEST_CASE("maximum and minimum: ties share, NaN wins") {
  Tensor a = from_vector<float>({1, 2, 3}), b = from_vector<float>({2, 2, 2});
  a.set_requires_grad();
  b.set_requires_grad();
  backward(maximum(a, b), ones({3}));
  CHECK(difference(a.grad(), from_vector<float>({0, 0.5f, 1})) == 0);
  CHECK(difference(b.grad(), from_vector<float>({1, 0.5f, 0})) == 0);
  a.zero_grad();
  b.zero_grad();
  backward(minimum(a, b), ones({3}));
  CHECK(difference(a.grad(), from_vector<float>({1, 0.5f, 0})) == 0);
  CHECK(difference(b.grad(), from_vector<float>({0, 0.5f, 1})) == 0);
  const Tensor nan = full({1}, NAN), one = ones({1});
  for (auto op : {static_cast<Tensor (*)(const Tensor&, const Tensor&)>(maximum),
                  static_cast<Tensor (*)(const Tensor&, const Tensor&)>(minimum)}) {
    CHECK(std::isnan(op(nan, one).item()));
    CHECK(std::isnan(op(one, nan).item()));
  }
}

TEST_CASE("numbers") {
  const Tensor x = from_vector<float>({1, -2, 4});
  CHECK(difference(x + 2, from_vector<float>({3, 0, 6})) == 0);
  CHECK(difference(2 + x, from_vector<float>({3, 0, 6})) == 0);
  CHECK(difference(x - 2, from_vector<float>({-1, -4, 2})) == 0);
  CHECK(difference(2 - x, from_vector<float>({1, 4, -2})) == 0);
  CHECK(difference(x * 0.5, from_vector<float>({0.5f, -1, 2})) == 0);
  CHECK(difference(0.5 * x, from_vector<float>({0.5f, -1, 2})) == 0);
  CHECK(difference(x / 2, from_vector<float>({0.5f, -1, 2})) == 0);
  CHECK(difference(2 / x, from_vector<float>({2, -1, 0.5f})) == 0);
  CHECK(difference(-x, from_vector<float>({-1, 2, -4})) == 0);
  CHECK(difference(maximum(x, 1.5), from_vector<float>({1.5f, 1.5f, 4})) == 0);
  CHECK(difference(minimum(x, 1.5), from_vector<float>({1, -2, 1.5f})) == 0);
  CHECK((x / 3)[0].item<float>() == 1.0f / 3.0f);  // a division, not a product with a rounded 1/3
  const auto fn = [](const std::vector<Tensor>& in) {
    const Tensor& t = in[0];
    return (t + 1.5) * 2 - (3 - t) / 4 + 2 / t - (t - 1) * maximum(t, 0.3) + minimum(t, 0.3);
  };
  for (const Shape& shape : {Shape{3, 2}, Shape{}, Shape{0}, Shape{1}}) {
    CHECK(gradcheck(fn, {values(shape, 3)}).checked == shape.numel());
    CHECK(gradcheck(fn, {scattered(values(shape, 3))}).checked == shape.numel());
  }
}

TEST_CASE("integers") {
  const Tensor a = from_vector<int64_t>({1, 2, int64_t{1} << 60}), b = from_vector<int64_t>({3});
  CHECK(same_bits(a + b, from_vector<int64_t>({4, 5, (int64_t{1} << 60) + 3})));
  CHECK(same_bits(a - 1, from_vector<int64_t>({0, 1, (int64_t{1} << 60) - 1})));
  CHECK(same_bits(b * 7, from_vector<int64_t>({21})));
  CHECK(same_bits(from_vector<uint8_t>({200, 1}) + from_vector<uint8_t>({100, 2}), from_vector<uint8_t>({44, 3})));
  CHECK(same_bits(maximum(a, b), from_vector<int64_t>({3, 3, int64_t{1} << 60})));
}

TEST_CASE("sum_to undoes broadcasting") {
  for (const auto& shapes : {std::pair<Shape, Shape>{{4}, {2, 3, 4}},
                             {{3, 1}, {2, 3, 4}},
                             {{2, 3, 1}, {2, 3, 4}},
                             {{1, 3, 1}, {2, 3, 4}},
                             {{}, {2, 3}},
                             {{1, 1}, {5}},
                             {{1, 4}, {0, 4}},
                             {{3}, {0, 3}},
                             {{0}, {2, 0}},
                             {{2, 3}, {2, 3}}}) {
    const Shape &small = shapes.first, &large = shapes.second;  // clang below 16 cannot capture a structured binding
    CAPTURE(small.str());
    CAPTURE(large.str());
    if (small.size() > large.size()) {
      CHECK(error_of([&] { sum_to(random(large, 1), small); }) ==
            "[sum_to] shape [1,1] does not broadcast to that of float64[5]");
      continue;
    }
    // <sum_to(x), u> = <x, u repeated> for any u.
    const Tensor x = random(large, 1), u = random(small, 2), y = sum_to(x, small), full_u = repeated(u, large);
    REQUIRE(y.shape() == small);
    const auto dot = [](const Tensor& p, const Tensor& q) {
      const std::vector<double> a = to_vector<double>(p), b = to_vector<double>(q);
      return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
    };
    CHECK(dot(y, u) == doctest::Approx(dot(x, full_u)).epsilon(1e-12));
    CHECK(difference(sum_to(scattered(x), small), y) < 1e-12);
    gradcheck([&, s = small](const std::vector<Tensor>& in) { return sum_to(in[0], s) * 2; }, {x});
  }
}

TEST_CASE("results do not depend on the number of threads") {
  Tensor x = random({3000, 37}, 1, float32), b = random({37}, 2, float32), s = random({3000, 1}, 3, float32);
  for (Tensor* t : {&x, &b, &s}) t->set_requires_grad();
  CHECK(test::same_for_any_threads([&] {
    std::vector<Tensor> r = grad({(x + b) * s / (s - b)}, {x, b, s});
    r.push_back((x + b).detach());
    return r;
  }));
}

TEST_CASE("devices") {
  auto impl = std::make_shared<TensorImpl>();  // a handle without memory is enough to meet the checks
  impl->storage = std::make_shared<Storage>(nullptr, 0, Device{DeviceType::cuda, 1}, nullptr);
  impl->shape = {2};
  impl->strides = {1};
  const Tensor far(impl);
  CHECK(error_of([&] { zeros({2}) + far; }) ==
        "[add] operands are on different devices: float32[2] and float32[2] on cuda:1 (move one with .to(...))");
}

TEST_CASE("powers of two tensors: values, gradients and edges as in PyTorch") {
  for (const auto& shapes : kShapes) {
    const Tensor a = abs(values(shapes.first, 1)), b = values(shapes.second, 2);
    gradcheck([](const std::vector<Tensor>& in) { return pow(in[0], in[1]); }, {a, scattered(b)});
    gradcheck([&](const std::vector<Tensor>& in) { return pow(in[0], b); }, {scattered(a)});
    gradcheck([&](const std::vector<Tensor>& in) { return pow(2.5, in[0]); }, {b});
  }
  Tensor a = from_vector<double>({0, 2, 0, -2, 0}), b = from_vector<double>({0, 2, 2, 3, 1});
  a.set_requires_grad();
  b.set_requires_grad();
  const Tensor y = pow(a, b);
  CHECK(difference(y, from_vector<double>({1, 4, 0, -8, 0})) == 0);
  y.backward(ones({5}, float64));
  CHECK(difference(a.grad(), from_vector<double>({0, 4, 0, 12, 1})) == 0);
  CHECK(difference(b.grad().slice(0, 0, 3), from_vector<double>({0, 4 * std::log(2.0), 0})) < 1e-12);
  CHECK(std::isnan(b.grad()[3].item()));  // of (-2)^b
  CHECK(same_bits(pow(from_vector<int64_t>({2, 3, -1, 1, -2, -3}), from_vector<int64_t>({-1, 0, -3, -2, -1, 3})),
                  from_vector<int64_t>({0, 1, -1, 1, 0, -27})));
  CHECK(same_bits(pow(2, from_vector<int64_t>({0, 5, 62})), from_vector<int64_t>({1, 32, int64_t{1} << 62})));
}

TEST_CASE("compound assignment is in place") {
  for (DType t : {float32, float64, int64}) {
    Tensor x = from_vector<int64_t>({6, 8}).to(t);
    const Tensor view = x.reshape({2, 1}), before = x;
    const uint64_t version = x.impl().storage->version();
    x += from_vector<int64_t>({1, 2}).to(t);
    x -= full({}, 3, t);
    x *= 5;
    CHECK(x.impl().storage->version() > version);
    CHECK(same_bits(view, from_vector<int64_t>({20, 35}, {2, 1}).to(t)));
    CHECK(before.is(x));
    x[1] += 1;
    x.slice(0, 0, 1) -= x.slice(0, 1, 2);
    CHECK(same_bits(x, from_vector<int64_t>({-16, 36}).to(t)));
  }
  Tensor x = from_vector<float>({3, 5});
  x /= 2;
  x /= from_vector<float>({3, 5});
  CHECK(difference(x, full({2}, 0.5)) == 0);
  x += x;
  CHECK(difference(x, ones({2})) == 0);
  x += ones({2}, boolean);
  CHECK(difference(x, full({2}, 2)) == 0);
  Tensor saved = ones({2}).set_requires_grad();
  const Tensor kept = ones({2}), product = saved * kept;
  Tensor changed = kept;
  changed += 1;
  CHECK(error_of([&] { product.backward(ones({2})); }).find("[mul] a tensor needed for its gradient") == 0);
}

TEST_CASE("compound assignment of what has a gradient gives the handle the result") {
  Tensor w = from_vector<double>({1, 2});
  w.set_requires_grad();
  Tensor loss = zeros({}, float64);
  for (int i = 0; i < 3; ++i) loss += sum(w * i);
  loss *= 2;
  loss -= w[0];
  loss /= w[1];
  CHECK(loss.item() == doctest::Approx((2 * 9 - 1) / 2.0));
  loss.backward();
  CHECK(difference(w.grad(), from_vector<double>({(6 - 1) / 2.0, 6 / 2.0 - 17 / 4.0})) < 1e-12);
  // What cannot be meant, or not be done: a parameter, somebody else's memory, a temporary.
  CHECK(error_of([&] { w -= 0.1; }) ==
        "[-=] float64[2] is a leaf that requires a gradient: change it under NoGrad, or write a = a - b");
  Tensor table = zeros({2}, float64), row = table[0];
  CHECK(error_of([&] { row += w[0]; }).find("[+=] the result has a gradient, which float64[] cannot take") == 0);
  CHECK(error_of([&] { table[0] += w[0]; }).find("[+=] the result has a gradient, which float64[] cannot take") == 0);
  {
    const NoGrad off;
    w -= 0.5;
    table[0] += w[0];
  }
  CHECK(difference(w, from_vector<double>({0.5, 1.5})) == 0);
  CHECK(difference(table, from_vector<double>({0.5, 0})) == 0);
  CHECK(error_of([] {
          Tensor small = ones({1});
          small += ones({2});
        }) == "[+=] the result, float32[2], does not fit into float32[1] (write a = a + b)");
  CHECK(error_of([] {
          Tensor k = ones({1}, int64);
          k += 0.5;
        }).find("[add] int64[1] takes whole numbers") == 0);
  CHECK(error_of([] {
          Tensor none;
          none += 1;
        }) == "[+=] the operand is undefined");
}

TEST_CASE("maximum and minimum with integers") {
  const Tensor k = from_vector<int64_t>({-1, 2, 5});
  CHECK(same_bits(maximum(k, 1), from_vector<int64_t>({1, 2, 5})));
  CHECK(same_bits(minimum(3, k), from_vector<int64_t>({-1, 2, 3})));
  CHECK(same_bits(maximum(from_vector<uint8_t>({3, 9}), 5), from_vector<uint8_t>({5, 9})));
  CHECK(error_of([&] { maximum(k, 0.5); }).find("[maximum] int64[3] takes whole numbers") == 0);
  CHECK(error_of([] { minimum(zeros({1}, boolean), 1); }) ==
        "[minimum] needs float32, float64, int64 or uint8, got bool[1] (convert with .to(atlas::int64) or "
        ".to(atlas::float32))");
}

TEST_CASE("errors") {
  CHECK(error_of([] {
          zeros({2, 3}) + zeros({2, 4});
        }) == "[add] float32[2,3] and float32[2,4] do not broadcast: axis -1 has lengths 3 and 4");
  CHECK(error_of([] { zeros({2}) * zeros({2}, int64); }) ==
        "[mul] dtypes differ: float32[2] and int64[2] (convert one with .to(...))");
  CHECK(error_of([] { zeros({2}, int64) / zeros({2}, int64); }) ==
        "[div] needs float32 or float64, got int64[2] (convert with .to(atlas::float32))");
  CHECK(error_of([] { zeros({2}, boolean) - zeros({2}, boolean); }) ==
        "[sub] needs float32, float64, int64 or uint8, got bool[2] (convert with .to(atlas::int64) or "
        ".to(atlas::float32))");
  CHECK(error_of([] { zeros({2}, int64) + 0.5; }) ==
        "[add] int64[2] takes whole numbers, got 0.5 (floats take any: .to(atlas::float32))");
  CHECK(error_of([] { zeros({2}, uint8) * 256; }).find("[mul] uint8[2] takes whole numbers from 0 to 255, got 256") ==
        0);
  CHECK(error_of([] { zeros({2}, int64) + NAN; }).find("[add] int64[2] takes whole numbers") == 0);
  CHECK(error_of([] { Tensor() + zeros({2}); }) == "[add] an operand is undefined: undefined and float32[2]");
  CHECK(error_of([] { Tensor() * 2; }) == "[mul] the operand is undefined");
  CHECK(error_of([] {
          sum_to(zeros({2, 3}), {2});
        }) == "[sum_to] [2,3] and [2] do not broadcast: axis -1 has lengths 3 and 2");
}

TEST_CASE("a sum goes into the memory of its second operand when nobody else holds it and nothing is recorded") {
  const Tensor a = full({2, 3}, 2.0);
  const auto sum_of = [&](Tensor b) {
    const void* memory = b.raw();
    const Tensor y = a + std::move(b);
    CHECK(y[1][2].item<float>() == 5);
    CHECK_FALSE(y.requires_grad());
    return y.raw() == memory;
  };
  CHECK_FALSE(sum_of(full({2, 3}, 3.0)));  // recording may be on: tensors may be kept for backward
  const NoGrad off;
  CHECK(sum_of(full({2, 3}, 3.0)));
  const Tensor kept = full({2, 3}, 3.0);
  CHECK_FALSE(sum_of(kept));
  CHECK_FALSE(sum_of(kept.reshape({2, 3})));
  CHECK_FALSE(sum_of(full({1, 3}, 3.0)));
  CHECK_FALSE(sum_of(full({3, 2}, 3.0).transpose(0, 1)));
  std::vector<float> mine(6, 3);
  if (!default_device().is_cuda()) CHECK_FALSE(sum_of(from_blob(mine.data(), {2, 3}, float32)));
  CHECK(mine[0] == 3);
  Tensor leaf = full({2, 3}, 3.0);
  leaf.set_requires_grad();
  CHECK_FALSE(sum_of(std::move(leaf)));
}
