// matmul and linear against the plain loops of atlas/reference/, gradients, layouts, thread counts and error texts.
#include "atlas/ops/matmul.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/reference/matmul.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/strided.h"
#include "random_input.h"

using namespace atlas;
using test::difference;
using test::error_of;
using test::random;
using test::scattered;

namespace {

/// Matrices only: c[m, n] in float64, by the definition.
Tensor by_definition(const Tensor& left, const Tensor& right) {
  const Tensor a = test::on_cpu(left.to(float64)), b = test::on_cpu(right.to(float64));
  Tensor c = empty({a.size(0), b.size(1)}, float64, Device{});
  cpu::reference::matmul(a.size(0), b.size(1), a.size(1), a.data<double>(), b.data<double>(), c.data<double>());
  return test::on_device(c);
}

Tensor transposed(const Tensor& t) { return copy_of(atlas::detail::swap_last_axes(t)); }

/// The matrix at one batch index of a tensor [B1, B2, M, N].
Tensor matrix(const Tensor& t, int64_t i, int64_t j) {
  return raw_view(t, {t.size(2), t.size(3)}, {t.strides()[2], t.strides()[3]},
                  t.offset() + i * t.strides()[0] + j * t.strides()[1]);
}

}  // namespace

TEST_CASE("matmul of two matrices equals the triple loop for sizes from 0 to several tiles") {
  const int64_t sizes[][3] = {{1, 1, 1},     {0, 3, 2},    {3, 0, 2},     {3, 2, 0},     {1, 7, 5},
                              {7, 5, 1},     {17, 33, 9},  {65, 31, 130}, {300, 20, 41}, {3, 2100, 5},
                              {20, 17, 600}, {1, 40, 700}, {40, 5000, 1}};
  uint64_t seed = 1;
  for (const auto& [m_, k_, n_] : sizes) {
    const auto &m = m_, &k = k_, &n = n_;  // clang below 16 captures no structured binding
    CAPTURE(m);
    CAPTURE(k);
    CAPTURE(n);
    for (DType dtype : {float32, float64}) {
      const Tensor a = random({m, k}, ++seed, dtype), b = random({k, n}, ++seed, dtype);
      const Tensor want = by_definition(a, b);
      const double limit = dtype == float32 ? 1e-4 : 1e-12;
      CHECK(difference(matmul(a, b), want) < limit);
      CHECK(difference(matmul(scattered(a), b), want) < limit);
      CHECK(difference(matmul(a, scattered(b)), want) < limit);
      CHECK(
          difference(matmul(atlas::detail::swap_last_axes(transposed(a)), atlas::detail::swap_last_axes(transposed(b))),
                     want) < limit);
    }
  }
}

TEST_CASE("matmul broadcasts batch axes and reads transposed and strided matrices in place") {
  const Tensor a = random({2, 3, 4, 5}, 1), b = random({2, 3, 5, 6}, 2);
  const auto check_all = [](const Tensor& x, const Tensor& y) {
    const Tensor c = matmul(x, y);
    REQUIRE(c.shape() == Shape({2, 3, 4, 6}));
    const Tensor bx = raw_view(x, {2, 3, 4, 5}, broadcast_strides(x.shape(), x.strides(), {2, 3, 4, 5}), x.offset());
    const Tensor by = raw_view(y, {2, 3, 5, 6}, broadcast_strides(y.shape(), y.strides(), {2, 3, 5, 6}), y.offset());
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t j = 0; j < 3; ++j)
        CHECK(difference(matrix(c, i, j), by_definition(matrix(bx, i, j), matrix(by, i, j))) < 1e-12);
  };
  check_all(a, b);
  check_all(scattered(a), scattered(b));
  check_all(a, atlas::detail::swap_last_axes(transposed(b)));
  check_all(random({2, 1, 4, 5}, 3), random({3, 5, 6}, 4));
  check_all(a, random({5, 6}, 5));
  check_all(scattered(a), random({1, 1, 5, 6}, 5));
  check_all(random({1, 4, 5}, 6), b);

  CHECK(matmul(random({5}, 1), random({5}, 2)).shape() == Shape{});
  CHECK(matmul(random({5}, 1), b).shape() == Shape({2, 3, 6}));
  CHECK(matmul(a, random({5}, 1)).shape() == Shape({2, 3, 4}));
  CHECK(matmul(random({0, 4, 5}, 1), random({5, 6}, 1)).shape() == Shape({0, 4, 6}));
  const Tensor empty_depth = matmul(random({2, 3, 0}, 1), random({2, 0, 4}, 1));
  CHECK(empty_depth.shape() == Shape({2, 3, 4}));
  CHECK(difference(empty_depth, matmul(random({2, 3, 1}, 1), random({1, 4}, 1).mul_(0))) == 0);
}

TEST_CASE("matmul gradients") {
  const auto f = [](const std::vector<Tensor>& in) { return matmul(in[0], in[1]); };
  CHECK_NOTHROW(gradcheck(f, {random({3, 4}, 1), random({4, 2}, 2)}));
  CHECK_NOTHROW(gradcheck(f, {random({4}, 1), random({4}, 2)}));
  CHECK_NOTHROW(gradcheck(f, {random({4}, 1), random({2, 4, 3}, 2)}));
  CHECK_NOTHROW(gradcheck(f, {random({2, 3, 4}, 1), random({4}, 2)}));
  CHECK_NOTHROW(gradcheck(f, {random({2, 3, 4}, 1), random({4, 2}, 2)}));
  CHECK_NOTHROW(gradcheck(f, {random({2, 1, 3, 4}, 1), random({3, 4, 2}, 2)}));
  CHECK_NOTHROW(gradcheck(f, {random({3, 4}, 1), random({2, 2, 4, 1}, 2)}));
  CHECK_NOTHROW(gradcheck(f, {scattered(random({2, 3, 4}, 1)), scattered(random({2, 4, 3}, 2))}));
  CHECK_NOTHROW(gradcheck(f, {random({2, 1, 4}, 1), scattered(random({4, 3}, 2))}));
  CHECK_NOTHROW(gradcheck(f, {random({2, 3, 1}, 1), random({1, 3}, 2)}));
  CHECK_NOTHROW(gradcheck(f, {random({2, 0, 3}, 1), random({3, 2}, 2)}));
}

TEST_CASE("gradients of matmul equal those of the plain loops") {
  const int64_t rows = 33, columns = 20, depth = 70;
  Tensor a = random({rows, depth}, 1), b = random({depth, columns}, 2);
  const Tensor dc = random({rows, columns}, 3), ah = test::on_cpu(a), bh = test::on_cpu(b), dch = test::on_cpu(dc);
  Tensor da = empty(a.shape(), float64, Device{}), db = empty(b.shape(), float64, Device{});
  cpu::reference::matmul_backward(rows, columns, depth, ah.data<double>(), bh.data<double>(), dch.data<double>(),
                                  da.data<double>(), db.data<double>());
  for (Tensor* t : {&a, &b}) t->set_requires_grad();
  const auto got = grad({matmul(a, b)}, {a, b}, {dc});
  CHECK(difference(got[0], da) < 1e-12);
  CHECK(difference(got[1], db) < 1e-12);
}

TEST_CASE("linear equals x Wᵀ + b, with gradients") {
  for (DType dtype : {float32, float64}) {
    const Tensor x = random({2, 5, 7}, 1, dtype), w = random({40, 7}, 2, dtype), b = random({40}, 3, dtype);
    Tensor want = by_definition(raw_view(x, {10, 7}, {7, 1}, 0), transposed(w));
    CHECK(difference(linear(x, w), raw_view(want, {2, 5, 40}, {200, 40, 1}, 0)) < 1e-5);
    Tensor b64 = empty({40}, float64);
    copy_elements(b64, b);
    want.add_(b64);
    for (const Tensor& input : {x, scattered(x)})
      CHECK(difference(linear(input, w, b), raw_view(want, {2, 5, 40}, {200, 40, 1}, 0)) < 1e-5);
    CHECK(difference(linear(x, scattered(w), scattered(b)), raw_view(want, {2, 5, 40}, {200, 40, 1}, 0)) < 1e-5);
  }
  const auto f = [](const std::vector<Tensor>& in) { return linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor()); };
  CHECK_NOTHROW(gradcheck(f, {random({2, 3, 4}, 1), random({5, 4}, 2), random({5}, 3)}));
  CHECK_NOTHROW(
      gradcheck(f, {scattered(random({2, 3, 4}, 1)), scattered(random({5, 4}, 2)), scattered(random({5}, 3))}));
  CHECK_NOTHROW(gradcheck(f, {random({4}, 1), random({1, 4}, 2)}));
  CHECK_NOTHROW(gradcheck(f, {random({3, 1}, 1), random({2, 1}, 2), random({2}, 3)}));
  CHECK(linear(random({0, 4}, 1), random({5, 4}, 2)).shape() == Shape({0, 5}));
  CHECK(difference(linear(random({2, 0}, 1), random({3, 0}, 2), random({3}, 3)),
                   linear(random({2, 1}, 1).mul_(0), random({3, 1}, 2), random({3}, 3))) == 0);
}

TEST_CASE("linear gives no gradient to what needs none") {
  Tensor x = random({3, 4}, 1), w = random({2, 4}, 2);
  w.set_requires_grad();
  const auto grads = grad({linear(x, w)}, {w});
  CHECK(grads[0].shape() == w.shape());
  backward(linear(x, w), random({3, 2}, 4));
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("products do not depend on the number of threads") {
  const int64_t sizes[][3] = {{400, 70, 300}, {40, 5000, 30}, {1, 3000, 500}, {130, 64, 1000}};
  for (const auto& [m, k, n] : sizes) {
    const Tensor a = random({m, k}, 1, float32), b = random({k, n}, 2, float32);
    CHECK(test::same_for_any_threads([&] { return std::vector<Tensor>{matmul(a, b)}; }));
  }
  Tensor x = random({6000, 24}, 1, float32), w = random({16, 24}, 2, float32), b = random({16}, 3, float32);
  for (Tensor* t : {&x, &w, &b}) t->set_requires_grad();
  CHECK(test::same_for_any_threads([&] {
    return grad({linear(x, w, b)}, {x, w, b}, {random({6000, 16}, 4, float32)});
  }));
}

TEST_CASE("errors of matmul and linear name the operands, the axis and a remedy") {
  CHECK(error_of([] {
          matmul(empty({8, 197, 384}), empty({192, 64}));
        }) == "[matmul] inner dimensions differ: a float32[8,197,384] axis 2 = 384, b float32[192,64] axis 0 = 192");
  CHECK(error_of([] {
          matmul(empty({8, 197, 384}), empty({64, 384}));
        }) ==
        "[matmul] inner dimensions differ: a float32[8,197,384] axis 2 = 384, b float32[64,384] axis 0 = 64 (transpose "
        "b?)");
  CHECK(error_of([] { matmul(empty({3, 2}), empty({3, 4})); }).ends_with("(transpose a?)"));
  CHECK(error_of([] {
          matmul(empty({2, 3}), empty({3, 4}, float64));
        }).find("dtypes differ: a float32[2,3], b float64[3,4]") != std::string::npos);
  CHECK(error_of([] {
          matmul(empty({2, 3}, int64), empty({3, 4}, int64));
        }).find("needs float32 or float64") != std::string::npos);
  CHECK(error_of([] { matmul(empty({}), empty({3})); }).find("at least one axis") != std::string::npos);
  CHECK(error_of([] {
          matmul(empty({2, 4, 3}), empty({3, 3, 4}));
        }).find("[matmul] float32[2,4,3] and float32[3,3,4] do not broadcast: axis -3 has lengths 2 and 3") !=
        std::string::npos);
  CHECK(error_of([] {
          linear(empty({2, 3}), empty({3, 4}));
        }) ==
        "[linear] input features differ: x float32[2,3] axis 1 = 3, weight float32[3,4] axis 1 = 4 (weight is [out, "
        "in]: transpose it?)");
  CHECK(error_of([] {
          linear(empty({2, 3}), empty({4, 3}), empty({5}));
        }) == "[linear] bias float32[5] does not fit weight float32[4,3] (needs [4])");
}
