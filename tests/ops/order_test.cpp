// argmax, topk and cumsum along every axis against plain loops; gradients, NaN, empty axes, error texts.
#include "atlas/ops/order.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/shape.h"
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

const Shape kShapes[] = {{2, 3, 4}, {5, 130}, {130, 5}, {7}, {1, 3}, {3, 1}};

/// Calls f(line, at) for each line along `axis`: its values, and where element k of it is in row-major order: at(k).
template <class F>
void for_each_line(const Tensor& x, int axis, const F& f) {
  Tensor flat = empty(x.shape(), float64, Device{});
  copy_elements(flat, x);
  const int64_t n = x.shape()[axis], inner = detail::inner_count(x.shape(), axis);
  for (int64_t o = 0; o < x.numel() / n / inner; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      std::vector<double> line;
      for (int64_t k = 0; k < n; ++k) line.push_back(flat.data<double>()[(o * n + k) * inner + i]);
      f(line, o, i);
    }
}

}  // namespace

TEST_CASE("argmax") {
  for (const Shape& shape : kShapes)
    for (DType t : {float32, float64, int64}) {
      Tensor x = empty(shape, t);
      copy_elements(x, mul(random(shape, 1), 3));  // small integers have ties: the first counts
      for (int axis = 0; axis < shape.size(); ++axis) {
        CAPTURE(shape.str());
        CAPTURE(axis);
        const Tensor y = argmax(x, axis), kept = argmax(scattered(x), axis - shape.size(), true);
        REQUIRE(y.dtype() == int64);
        REQUIRE(kept.dim() == shape.size());
        CHECK(same_bits(detail::view_as(kept, y.shape()), y));
        const int64_t inner = detail::inner_count(shape, axis);
        const auto got = to_vector<int64_t>(y);
        for_each_line(x, axis, [&](const std::vector<double>& line, int64_t o, int64_t i) {
          REQUIRE(got[o * inner + i] == std::max_element(line.begin(), line.end()) - line.begin());
        });
      }
    }
  CHECK(argmax(from_vector<float>({1, NAN, INFINITY, NAN}), 0).item<int64_t>() == 1);
  CHECK(argmax(from_vector<float>({-INFINITY, -INFINITY}), 0).item<int64_t>() == 0);
  CHECK(argmax(zeros({0, 3}), 1).shape() == Shape{0});
  CHECK(argmax(zeros({3, 0}), 0).shape() == Shape{0});
}

TEST_CASE("topk") {
  for (const Shape& shape : kShapes) {
    const Tensor x = random(shape, 2), x32 = random(shape, 2, float32);
    for (int axis = 0; axis < shape.size(); ++axis)
      for (int64_t k : {int64_t{0}, int64_t{1}, (shape[axis] + 1) / 2, shape[axis]}) {
        CAPTURE(shape.str());
        CAPTURE(axis);
        CAPTURE(k);
        const auto [values, index] = topk(x, k, axis);
        Shape want = shape;
        want[axis] = k;
        REQUIRE(values.shape() == want);
        REQUIRE(index.shape() == want);
        REQUIRE(index.dtype() == int64);
        CHECK(same_bits(topk(scattered(x), k, axis - shape.size()).second, index));
        CHECK(same_bits(topk(x32, k, axis).second, index));
        const int64_t inner = detail::inner_count(shape, axis);
        const auto v = to_vector<double>(values);
        const auto p = to_vector<int64_t>(index);
        for_each_line(x, axis, [&, k = k](std::vector<double> line, int64_t o, int64_t i) {
          const std::vector<double> before = line;
          std::sort(line.rbegin(), line.rend());
          for (int64_t j = 0; j < k; ++j) {
            const int64_t at = (o * k + j) * inner + i;
            REQUIRE(v[at] == line[static_cast<size_t>(j)]);
            REQUIRE(before[static_cast<size_t>(p[at])] == line[static_cast<size_t>(j)]);
          }
        });
        if (k > 0 && x.numel() < 100)
          gradcheck([&, n = k, a = axis](const std::vector<Tensor>& in) { return topk(in[0], n, a).first; },
                    {scattered(x)});
      }
  }
  const auto [values, index] = topk(from_vector<float>({1, 2, NAN, 2, INFINITY}), 4);
  CHECK(same_bits(index, from_vector<int64_t>({2, 4, 1, 3})));
  CHECK(std::isnan(values[0].item<float>()));
  CHECK(topk(zeros({0, 3}), 2).first.shape() == Shape{0, 2});
  CHECK(same_bits(topk(from_vector<int64_t>({3, 9, 5}), 2).first, from_vector<int64_t>({9, 5})));
}

TEST_CASE("sort") {
  for (const Shape& shape : kShapes)
    for (DType t : {float32, float64, int64}) {
      Tensor x = empty(shape, t);
      copy_elements(x, mul(random(shape, 5), 3));  // small integers have ties: the first comes first
      for (int axis = 0; axis < shape.size(); ++axis)
        for (bool descending : {false, true}) {
          CAPTURE(shape.str());
          CAPTURE(axis);
          const auto [values, index] = sort(x, axis, descending);
          REQUIRE(values.shape() == shape);
          REQUIRE(values.dtype() == t);
          REQUIRE(index.dtype() == int64);
          const auto again = sort(scattered(x), axis - shape.size(), descending);
          CHECK(same_bits(again.first, values));
          CHECK(same_bits(again.second, index));
          const int64_t inner = detail::inner_count(shape, axis);
          const auto v = to_vector<double>(values.to(float64));
          const auto p = to_vector<int64_t>(index);
          for_each_line(x, axis, [&, down = descending](const std::vector<double>& line, int64_t o, int64_t i) {
            std::vector<int64_t> order(line.size());
            for (size_t k = 0; k < line.size(); ++k) order[k] = static_cast<int64_t>(k);
            std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
              const double u = line[static_cast<size_t>(a)], w = line[static_cast<size_t>(b)];
              return down ? u > w : u < w;
            });
            for (size_t k = 0; k < line.size(); ++k) {
              const size_t at =
                  static_cast<size_t>((o * static_cast<int64_t>(line.size()) + static_cast<int64_t>(k)) * inner + i);
              REQUIRE(p[at] == order[k]);
              REQUIRE(v[at] == line[static_cast<size_t>(order[k])]);
            }
          });
        }
    }
  // As PyTorch: NaN is the largest.
  const Tensor x = from_vector<float>({2, NAN, 1, NAN, 3, -INFINITY});
  CHECK(same_bits(sort(x).second, from_vector<int64_t>({5, 2, 0, 4, 1, 3})));
  CHECK(same_bits(sort(x, 0, true).second, from_vector<int64_t>({1, 3, 4, 0, 2, 5})));
  const Tensor flags = from_vector<int64_t>({1, 0, 1}).to(boolean);
  CHECK(same_bits(sort(flags).first, from_vector<int64_t>({0, 1, 1}).to(boolean)));
  CHECK(same_bits(sort(from_vector<uint8_t>({200, 3, 200})).second, from_vector<int64_t>({1, 0, 2})));
  CHECK(sort(full({}, 3)).first.item() == 3);
  CHECK(sort(full({}, 3)).second.item<int64_t>() == 0);
  CHECK(sort(zeros({0, 3}), 0).second.shape() == Shape{0, 3});
  CHECK(sort(zeros({2, 0})).first.shape() == Shape{2, 0});
  for (const Shape& shape : {Shape{2, 3, 4}, Shape{5}, Shape{1, 1}, Shape{0, 2}, Shape{2, 0}, Shape{}})
    for (int axis = 0; axis < std::max(shape.size(), 1); ++axis)
      gradcheck([&](const std::vector<Tensor>& in) { return sort(in[0], axis, true).first; },
                {scattered(random(shape, 2))});
}

TEST_CASE("cumsum") {
  for (const Shape& shape : kShapes) {
    const Tensor x = random(shape, 3), x32 = random(shape, 3, float32);
    for (int axis = 0; axis < shape.size(); ++axis) {
      CAPTURE(shape.str());
      CAPTURE(axis);
      const Tensor y = cumsum(x, axis);
      const int64_t n = shape[axis], inner = detail::inner_count(shape, axis);
      const auto got = to_vector<double>(y);
      for_each_line(x, axis, [&](const std::vector<double>& line, int64_t o, int64_t i) {
        double total = 0;
        for (int64_t k = 0; k < n; ++k) {
          total += line[static_cast<size_t>(k)];
          REQUIRE(got[(o * n + k) * inner + i] == doctest::Approx(total).epsilon(1e-12));
        }
      });
      CHECK(difference(cumsum(scattered(x), axis - shape.size()), y) == 0);
      CHECK(difference(cumsum(x32, axis), y) < 1e-6);
      gradcheck([&](const std::vector<Tensor>& in) { return cumsum(in[0], axis); }, {x});
      gradcheck([&](const std::vector<Tensor>& in) { return cumsum(in[0], axis); }, {scattered(x)});
    }
  }
  CHECK(same_bits(cumsum(from_vector<int64_t>({1, 2, 3}), 0), from_vector<int64_t>({1, 3, 6})));
  CHECK(cumsum(zeros({0, 3}), 0).shape() == Shape{0, 3});
  gradcheck([](const std::vector<Tensor>& in) { return cumsum(in[0], 1); }, {random({2, 0}, 1)});
}

TEST_CASE("results do not depend on the number of threads") {
  const Tensor x = random({60, 50, 70}, 4, float32);
  CHECK(test::same_for_any_threads([&] {
    return std::vector<Tensor>{argmax(x, 1),      topk(x, 5, 0).first, topk(x, 5, 2).second,
                               sort(x, 1).second, cumsum(x, 1),        cumsum(x, 2)};
  }));
}

TEST_CASE("errors") {
  CHECK(error_of([] { argmax(zeros({2, 3}), 2); }) == "[argmax] axis 2 is outside [-2, 2) of float32[2,3]");
  CHECK(error_of([] {
          argmax(zeros({2, 0}), 1);
        }) == "[argmax] float32[2,0] has no elements along axis 1 to choose from");
  CHECK(error_of([] { argmax(zeros({2}, float16)); }) ==
        "[argmax] needs float32, float64, int64, uint8 or bool, got float16[2] (convert with .to(atlas::float32))");
  CHECK(error_of([] { sort(zeros({2, 3}), 2); }) == "[sort] axis 2 is outside [-2, 2) of float32[2,3]");
  CHECK(error_of([] {
          sort(zeros({2}, bfloat16).to(float16));
        }).find("[sort] needs float32, float64, int64, uint8 or bool") == 0);
  CHECK(error_of([] {
          topk(zeros({2, 3}), 4);
        }) == "[topk] k = 4 is outside [0, 3], the length of axis 1 of float32[2,3]");
  CHECK(error_of([] { topk(zeros({2, 3}), -1); }).find("[topk] k = -1 is outside [0, 3]") == 0);
  CHECK(error_of([] { cumsum(zeros({2}), 1); }) == "[cumsum] axis 1 is outside [-1, 1) of float32[2]");
  CHECK(error_of([] { cumsum(zeros({2}, uint8), 0); }).find("[cumsum] needs float32, float64 or int64, got uint8") ==
        0);
}
