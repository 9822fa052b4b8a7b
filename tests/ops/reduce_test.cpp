// Reductions against loops over every element, for all subsets of axes; gradients, precision, empty axes, NaN, error
// texts.
#include "atlas/ops/reduce.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/axes.h"
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

/// The elements of x that go into each result, in row-major order of the results.
std::vector<std::vector<double>> groups(const Tensor& x, const Shape& axes) {
  std::vector<bool> reduced(static_cast<size_t>(x.dim()), axes.empty());
  for (int64_t a : axes) reduced[static_cast<size_t>(a < 0 ? a + x.dim() : a)] = true;
  Shape kept;
  for (int i = 0; i < x.dim(); ++i) kept.push_back(reduced[static_cast<size_t>(i)] ? 1 : x.shape()[i]);
  std::vector<std::vector<double>> result(static_cast<size_t>(kept.numel()));
  Tensor flat = empty(x.shape(), float64, Device{});
  copy_elements(flat, x);
  const Shape shape = x.shape();
  const int64_t n = x.numel();
  const double* const values = flat.data<double>();
  for (int64_t i = 0; i < n; ++i) {
    int64_t rest = i, at = 0, step = 1;
    for (int k = shape.size() - 1; k >= 0; --k) {
      at += kept[k] == 1 ? 0 : rest % shape[k] * step;
      rest /= shape[k];
      step *= kept[k];
    }
    result[static_cast<size_t>(at)].push_back(values[i]);
  }
  return result;
}

double sum_of(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0); }
double mean_of(const std::vector<double>& v) { return sum_of(v) / static_cast<double>(v.size()); }
double squares(const std::vector<double>& v) {
  const double average = mean_of(v);
  double s = 0;
  for (double x : v) s += (x - average) * (x - average);
  return s;
}

struct Reduction {
  const char* name;
  Tensor (*op)(const Tensor&, const Shape&, bool);
  double (*reference)(const std::vector<double>&);
  bool of_nothing = true;  // defined without elements
};
const Reduction kReductions[] = {
    {"sum", sum, sum_of},
    {"mean", mean, mean_of},
    {"max", max, [](const std::vector<double>& v) { return *std::max_element(v.begin(), v.end()); }, false},
    {"min", min, [](const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); }, false},
    {"var", [](const Tensor& x, const Shape& a, bool k) { return var(x, a, k); },
     [](const std::vector<double>& v) { return squares(v) / static_cast<double>(v.size() - 1); }},
    {"var biased", [](const Tensor& x, const Shape& a, bool k) { return var(x, a, k, false); },
     [](const std::vector<double>& v) { return squares(v) / static_cast<double>(v.size()); }},
};

Tensor naive(const Reduction& r, const Tensor& x, const Shape& axes, const Shape& shape) {
  std::vector<double> y;
  for (const auto& group : groups(x, axes)) y.push_back(r.reference(group));
  return from_vector(y, shape);
}

/// Every subset of n axes; none stands for all, so the empty one appears as {}.
std::vector<Shape> subsets(int n) {
  std::vector<Shape> all;
  for (int bits = 0; bits < (1 << n); ++bits) {
    Shape axes;
    for (int i = 0; i < n; ++i)
      if ((bits >> i & 1) != 0) axes.push_back(i % 2 == 0 ? i : i - n);
    all.push_back(axes);
  }
  return all;
}

}  // namespace

TEST_CASE("all subsets of axes, contiguous and not, float32 and float64") {
  for (const Reduction& r : kReductions) {
    for (const Shape& shape : {Shape{2, 3, 4, 5}, Shape{3, 1, 4}, Shape{1, 7}, Shape{6}, Shape{}}) {
      const Tensor x = random(shape, 3), x32 = random(shape, 3, float32);
      for (const Shape& axes : subsets(shape.size())) {
        CAPTURE(r.name);
        CAPTURE(shape.str());
        CAPTURE(axes.str());
        const Tensor y = r.op(x, axes, false), want = naive(r, x, axes, y.shape());
        const bool undefined = want.numel() > 0 && std::isnan(to_vector<double>(want)[0]);  // var of one element
        if (undefined) {
          CHECK(std::isnan(to_vector<double>(y)[0]));
          continue;
        }
        CHECK(difference(y, want) < 1e-13);
        CHECK(difference(r.op(scattered(x), axes, false), want) < 1e-13);
        CHECK(difference(r.op(x32, axes, false), want) < 1e-6);
        const Tensor kept = r.op(x, axes, true);
        REQUIRE(kept.dim() == shape.size());
        CHECK(difference(detail::view_as(kept, y.shape()), y) == 0);
      }
    }
  }
}

TEST_CASE("shapes that take the blocked paths") {
  // Long rows, many rows, tall and wide columns, several pieces and tiles.
  const std::pair<Shape, Shape> cases[] = {{{100003}, {0}},      {{3, 40000}, {1}},       {{5000, 20}, {1}},
                                           {{70000, 3}, {0}},    {{3000, 70}, {0}},       {{200, 700}, {0}},
                                           {{3, 2000, 17}, {1}}, {{2, 300, 300}, {0, 2}}, {{700, 11, 13}, {0, 2}}};
  for (const auto& [shape_, axes] : cases) {
    const auto& shape = shape_;  // clang below 16 captures no structured binding
    CAPTURE(shape.str());
    const Tensor x = random(shape, 1, float32);
    for (const Reduction& r : kReductions) {
      CAPTURE(r.name);
      const Tensor y = r.op(x, axes, false);
      CHECK(difference(y, naive(r, x, axes, y.shape())) < 1e-6);
      CHECK(test::same_for_any_threads([&, &s = axes] { return std::vector<Tensor>{r.op(x, s, false)}; }));
    }
  }
}

TEST_CASE("float32 sums do not lose digits") {
  const Tensor x = full({3000001}, 0.1);
  CHECK(sum(x).item() == doctest::Approx(3000001 * static_cast<double>(0.1f)).epsilon(1e-7));
  CHECK(mean(x).item<float>() == 0.1f);
  Tensor y = from_vector<float>({3e7f, 1, -3e7f});
  CHECK(sum(y).item() == 1);
  CHECK(sum(detail::view_as(y, {3, 1}), {0}).item() == 1);
  CHECK(var(full({1000}, 1e4)).item() == 0);
}

TEST_CASE("integers and bool") {
  CHECK(same_bits(sum(from_vector<int64_t>({1, 2, 3, 4, 5, 6}, {2, 3}), {0}), from_vector<int64_t>({5, 7, 9})));
  CHECK(same_bits(sum(full({1000}, 255, uint8)), full({}, 255000, int64)));
  CHECK(same_bits(sum(full({2, 700}, 1, boolean), {1}), from_vector<int64_t>({700, 700})));
  CHECK(same_bits(sum(full({2, 700, 3}, 1, uint8), {0, 2}), full({700}, 6, int64)));
  CHECK(same_bits(max(from_vector<int64_t>({-5, -2, -9})), full({}, -2, int64)));
  CHECK(same_bits(min(from_vector<uint8_t>({5, 2, 9})), full({}, 2, uint8)));
}

TEST_CASE("nothing to reduce") {
  CHECK(difference(sum(zeros({0, 3}), {0}), zeros({3})) == 0);
  CHECK(sum(zeros({0, 3}), {1}).shape() == Shape{0});
  CHECK(sum(zeros({0})).item() == 0);
  CHECK(sum(zeros({0}, boolean)).dtype() == int64);
  CHECK(sum(zeros({2, 0, 3}), {1}, true).shape() == Shape{2, 1, 3});
  CHECK(std::isnan(mean(zeros({0})).item()));
  CHECK(std::isnan(mean(zeros({0, 2}), {0})[1].item<float>()));
  CHECK(std::isnan(var(zeros({0})).item()));
  CHECK(std::isnan(var(zeros({1})).item()));
  CHECK(var(zeros({1}), {}, false, false).item() == 0);
  CHECK(max(zeros({0, 3}), {1}).shape() == Shape{0});
  for (const Reduction& r : kReductions) {
    CAPTURE(r.name);
    if (r.of_nothing)
      CHECK(r.op(random({2, 0}, 1), {1}, false).shape() == Shape{2});
    else
      CHECK(error_of([&] { r.op(random({2, 0}, 1), {1}, false); }).find("has no elements along") != std::string::npos);
  }
}

TEST_CASE("NaN and infinity") {
  for (int64_t at : {0, 5, 39}) {
    Tensor x = random({40}, 2, float32);
    x[at].fill_(NAN);
    for (const Reduction& r : kReductions) CHECK(std::isnan(r.op(x, {}, false).item()));
    CHECK(std::isnan(max(detail::view_as(x, {10, 4}), {0})[at % 4].item()));
    CHECK(!std::isnan(max(detail::view_as(x, {10, 4}), {0})[(at + 1) % 4].item()));
  }
  CHECK(max(full({50}, -INFINITY)).item() == -INFINITY);
  CHECK(min(full({50}, INFINITY)).item() == INFINITY);
}

TEST_CASE("gradients") {
  for (const Reduction& r : kReductions) {
    for (const Shape& shape : {Shape{2, 3, 4}, Shape{3, 1, 2}, Shape{5}, Shape{}, Shape{0, 2}, Shape{2, 0}}) {
      for (const Shape& axes : subsets(shape.size())) {
        CAPTURE(r.name);
        CAPTURE(shape.str());
        CAPTURE(axes.str());
        const Tensor x = random(shape, 4);
        Tensor probe;
        try {
          probe = r.op(x, axes, false);
        } catch (const Error&) {
          continue;  // max of nothing
        }
        if (difference(probe, probe) != 0) continue;  // NaN: var of one element, mean of none
        const auto fn = [&](const std::vector<Tensor>& in) { return r.op(in[0], axes, false); };
        CHECK(gradcheck(fn, {x}).checked == x.numel());
        gradcheck([&](const std::vector<Tensor>& in) { return r.op(in[0], axes, true); }, {scattered(x)});
      }
    }
  }
}

TEST_CASE("equal largest elements share the gradient") {
  Tensor x = from_vector<float>({1, 3, 3, 3, 2, 2}, {2, 3});
  x.set_requires_grad();
  backward(max(x, {1}), from_vector<float>({6, 3}));
  CHECK(difference(x.grad(), from_vector<float>({0, 3, 3, 3, 0, 0}, {2, 3})) == 0);
  x.zero_grad();
  backward(min(x), ones({}));
  CHECK(difference(x.grad(), from_vector<float>({1, 0, 0, 0, 0, 0}, {2, 3})) == 0);
}

TEST_CASE("one axis by its number, and an empty list") {
  const Tensor x = random({2, 3}, 1);
  const int64_t wide = 1;
  const size_t unsigned_axis = 0;
  CHECK(sum(x, 0).shape() == Shape{3});
  CHECK(same_bits(sum(x, 0), sum(x, {0})));
  CHECK(same_bits(sum(x, -1, true), sum(x, {1}, true)));
  CHECK(same_bits(mean(x, wide), mean(x, {1})));
  CHECK(same_bits(max(x, unsigned_axis), max(x, {0})));
  CHECK(same_bits(min(x, 1), min(x, {1})));
  CHECK(same_bits(var(x, 1, true, false), var(x, {1}, true, false)));
  CHECK(same_bits(logsumexp(x, 0), logsumexp(x, {0})));
  CHECK(same_bits(norm(x, 2, 0), norm(x, 2, {0})));
  CHECK(same_bits(x.sum(0), sum(x, {0})));
  CHECK(same_bits(x.mean(1, true), mean(x, {1}, true)));
  CHECK(sum(x, {}).shape() == Shape{});
  CHECK(sum(x, {}, true).shape() == Shape{1, 1});
  CHECK(max(x, Shape{}).shape() == Shape{});
}

TEST_CASE("logsumexp and norm") {
  const Shape shape{2, 3, 4};
  const Tensor x = random(shape, 1);
  for (const Shape& axes : {Shape{}, Shape{1}, Shape{0, 2}, Shape{-1}})
    for (bool keepdim : {false, true}) {
      CHECK(difference(logsumexp(x, axes, keepdim), log(sum(exp(x), axes, keepdim))) < 1e-12);
      gradcheck([&](const std::vector<Tensor>& in) { return logsumexp(in[0], axes, keepdim); }, {scattered(x)});
      CHECK(difference(norm(x, 2, axes, keepdim), sqrt(sum(square(x), axes, keepdim))) < 1e-12);
      for (double p : {1.0, 1.5, 2.0, 3.0, 0.5, static_cast<double>(INFINITY)}) {
        CAPTURE(p);
        if (std::isfinite(p))
          CHECK(difference(norm(x, p, axes, keepdim), pow(sum(pow(abs(x), p), axes, keepdim), 1 / p)) < 1e-12);
        gradcheck([&](const std::vector<Tensor>& in) { return norm(in[0], p, axes, keepdim); }, {scattered(x)});
      }
    }
  const Tensor extreme = from_vector<double>({1000, 1001, -INFINITY, -INFINITY, INFINITY, 0}, {3, 2});
  const Tensor y = logsumexp(extreme, 1);
  CHECK(y[0].item() == doctest::Approx(1001.3132616875));
  CHECK(y[1].item() == -INFINITY);
  CHECK(y[2].item() == INFINITY);
  CHECK(logsumexp(zeros({0, 2}), 0)[1].item() == -INFINITY);
  CHECK(norm(zeros({0, 2}), 2, 0)[1].item() == 0);
  Tensor zero = zeros({3}).set_requires_grad();
  for (double p : {1.0, 1.5, 2.0, 3.0}) {  // as PyTorch: 0 where the norm is
    zero.zero_grad();
    norm(zero, p).backward();
    CHECK(difference(zero.grad(), zeros({3})) == 0);
  }
  for (const Shape& empty_shape : {Shape{0, 3}, Shape{1, 1}}) {
    gradcheck([](const std::vector<Tensor>& in) { return logsumexp(in[0], 1); }, {random(empty_shape, 1)});
    gradcheck([](const std::vector<Tensor>& in) { return norm(in[0], 2, 1); }, {random(empty_shape, 1)});
  }
  for (double p : {1.0, 2.0, double{INFINITY}})
    CHECK(error_of([&] { norm(zeros({2}), p, 1); }) == "[norm] axis 1 is outside [-1, 1) of float32[2]");
  CHECK(error_of([] { norm(zeros({2}), 0); }) == "[norm] p must be above 0, got 0");
  CHECK(error_of([] { norm(zeros({2}, int64)); }).find("[norm] needs float32 or float64, got int64") == 0);
  CHECK(error_of([] { logsumexp(zeros({2}), 1); }) == "[logsumexp] axis 1 is outside [-1, 1) of float32[2]");
}

TEST_CASE("max and min: of two tensors element by element, of a tensor and a number over that axis") {
  const Tensor x = from_vector<double>({1, 4, 3, 2}, {2, 2}), y = from_vector<double>({2, 3, 9, -1}, {2, 2});
  CHECK(difference(max(x, y), from_vector<double>({2, 4, 9, 2}, {2, 2})) == 0);
  CHECK(difference(min(x, y), from_vector<double>({1, 3, 3, -1}, {2, 2})) == 0);
  CHECK(difference(max(x, y[0]), from_vector<double>({2, 4, 3, 3}, {2, 2})) == 0);
  CHECK(difference(max(x, 1), from_vector<double>({4, 3})) == 0);
  CHECK(difference(min(x, 0, true), from_vector<double>({1, 2}, {1, 2})) == 0);
  CHECK(difference(max(x, {1}), from_vector<double>({4, 3})) == 0);
  CHECK(max(x, {0, 1}).item() == 4);
  CHECK(max(x, {0}, true).shape() == Shape{1, 2});
  CHECK(min(x, {}).item() == 1);
  gradcheck([](const std::vector<Tensor>& in) { return max(in[0], in[1]) * min(in[1], in[0]); }, {x, y});
}

TEST_CASE("members") {
  const Tensor x = from_vector<float>({1, 2, 3, 4}, {2, 2});
  CHECK(difference(x.sum({0}), from_vector<float>({4, 6})) == 0);
  CHECK(x.mean().item() == 2.5);
  CHECK(x.mean({-1}, true).shape() == Shape{2, 1});
}

TEST_CASE("errors") {
  CHECK(error_of([] { sum(zeros({2, 3}), {2}); }) == "[sum] axis 2 is outside [-2, 2) of float32[2,3]");
  CHECK(error_of([] { mean(zeros({2, 3}), {1, -1}); }) == "[mean] axis -1 is given twice in [1,-1]");
  CHECK(error_of([] { mean(zeros({2}, int64)); }) ==
        "[mean] needs float32 or float64, got int64[2] (convert with .to(atlas::float32))");
  CHECK(error_of([] { var(zeros({2}, int64)); }).find("[var] needs float32 or float64") == 0);
  CHECK(error_of([] {
          sum(zeros({2}, float16));
        }).find("[sum] needs float32, float64, int64, uint8 or bool, got float16") == 0);
  CHECK(error_of([] {
          max(zeros({0, 3}), {0});
        }) == "[max] float32[0,3] has no elements along the reduced axes to choose from");
  CHECK(error_of([] { min(zeros({0})); }).find("[min] float32[0] has no elements") == 0);
  CHECK(error_of([] {
          max(zeros({2}, float16));
        }).find("[max] needs float32, float64, int64, uint8 or bool, got float16") == 0);
  CHECK(error_of([] { sum(Tensor()); }) == "[sum] the operand is undefined");
}
