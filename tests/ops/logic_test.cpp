// Logic: every type, broadcasting, reductions of nothing, NaN; what a tensor says when it is asked whether it is true.
#include "atlas/ops/logic.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/order.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "random_input.h"

using namespace atlas;
using test::error_of;
using test::scattered;

namespace {

std::string bits(const Tensor& t) {
  std::string s;
  for (const bool b : to_vector<bool>(t)) s += b ? '1' : '0';
  return s;
}

template <class A, class B>
concept Ands = requires(const A& a, const B& b) {
  a&& b;
};
template <class A, class B>
concept Ors = requires(const A& a, const B& b) {
  a || b;
};
template <class A>
concept Negates = requires(const A& a) {
  !a;
};

}  // namespace

// They would ask for the handles, not for the elements.
static_assert(!Ands<Tensor, Tensor> && !Ands<Tensor, bool> && !Ands<bool, Tensor>);
static_assert(!Ors<Tensor, Tensor> && !Ors<Tensor, bool> && !Ors<bool, Tensor>);
static_assert(!Negates<Tensor> && Negates<bool>);

TEST_CASE("logical functions, for every type") {
  for (DType t : {float32, float64, int64, uint8, boolean}) {
    CAPTURE(name(t));
    const Tensor a = from_vector<int64_t>({0, 1, 0, 1}, {2, 2}).to(t), b = from_vector<int64_t>({0, 1}).to(t);
    CHECK(bits(logical_and(a, b)) == "0101");
    CHECK(bits(logical_or(a, zeros({2, 1}))) == "0101");
    CHECK(bits(logical_or(scattered(a), from_vector<int64_t>({1, 0}, {2, 1}))) == "1101");
    CHECK(bits(logical_xor(a, b)) == "0000");
    CHECK(bits(logical_not(a)) == "1010");
    CHECK(logical_not(a).dtype() == boolean);
    CHECK(bits(any(a, 0)) == "01");
    CHECK(bits(all(a, 1)) == "00");
    CHECK(bits(all(a, {0})) == "01");
    CHECK(any(a, -1, true).shape() == Shape{2, 1});
    CHECK(any(a).item<bool>());
    CHECK_FALSE(all(a).item<bool>());
    CHECK(any(a).shape() == Shape{});
  }
  const Tensor half = from_vector<float>({0.5f, -0.0f, NAN, 1e-30f});
  CHECK(bits(logical_and(half, full({}, 3))) == "1011");
  CHECK(bits(logical_not(half)) == "0100");
  CHECK(any(full({}, 2, int64)).item<bool>());
}

TEST_CASE("any and all of nothing") {
  CHECK(bits(any(zeros({0, 3}), 0)) == "000");
  CHECK(bits(all(zeros({0, 3}, boolean), 0)) == "111");
  CHECK(any(zeros({0, 3}), 1).shape() == Shape{0});
  CHECK_FALSE(any(zeros({0})).item<bool>());
  CHECK(all(zeros({0})).item<bool>());
}

TEST_CASE("operators on boolean tensors") {
  const Tensor x = from_vector<float>({-1, 0.5f, 2}), inside = (x > 0) & (x < 1);
  CHECK(bits(inside) == "010");
  CHECK(bits((x < 0) | (x > 1)) == "101");
  CHECK(bits(~inside) == "101");
  CHECK(bits(inside ^ (x > 0)) == "001");
  // In place, also in a part of a tensor and through a temporary.
  Tensor t = from_vector<int64_t>({1, 1, 0, 0}, {2, 2}).to(boolean);
  const Tensor same = t.reshape({4}), u = from_vector<int64_t>({1, 0}).to(boolean);
  const uint64_t version = t.impl().storage->version();
  t &= u;
  CHECK(bits(same) == "1000");
  CHECK(t.impl().storage->version() > version);
  t |= from_vector<int64_t>({0, 1}, {2, 1}).to(boolean);
  CHECK(bits(same) == "1011");
  t ^= t.detach();
  CHECK(bits(same) == "0000");
  t[1] |= u;
  t[1] ^= ~u;
  t.select(1, 0) &= u;
  CHECK(bits(same) == "0001");
  CHECK(error_of([&] { t &= zeros({2}); }).find("[&] needs bool, got float32[2]") == 0);
  CHECK(error_of([] {
          Tensor k = ones({2}, int64);
          k |= k;
        }).find("[|] needs bool, got int64[2]") == 0);
  CHECK(error_of([&] {
          Tensor small = u.clone();
          small ^= t;
        }) == "[^=] the result, bool[2,2], does not fit into bool[2] (write a = a ^ b)");
  CHECK(error_of([&] { x& inside; }).find("[&] needs bool, got float32[3] (compare first") == 0);
  CHECK(error_of([&] { ~from_vector<int64_t>({1}); }).find("[~] needs bool, got int64[1]") == 0);
}

TEST_CASE("boolean tensors are compared, multiplied, and have a largest element") {
  const Tensor a = from_vector<int64_t>({0, 1, 1, 0}, {2, 2}).to(boolean), b = from_vector<int64_t>({1, 1}).to(boolean);
  CHECK(bits(a == b) == "0110");
  CHECK(bits(a != scattered(a)) == "0000");
  CHECK(bits(a < b) == "1001");
  CHECK(bits(a == 1) == "0110");
  CHECK(bits(a * b) == "0110");
  CHECK((a * b).dtype() == boolean);
  CHECK(bits(maximum(a, b)) == "1111");
  CHECK(bits(minimum(a, b)) == "0110");
  CHECK(bits(max(a, 0)) == "11");
  CHECK(bits(min(a, 1)) == "00");
  CHECK(max(a).item<bool>());
  CHECK(test::same_bits(argmax(a, 1), from_vector<int64_t>({1, 0})));
  CHECK(test::difference(sum(a, 1), from_vector<int64_t>({1, 1})) == 0);
  CHECK(error_of([&] { a * 2; }) ==
        "[mul] needs float32, float64, int64 or uint8, got bool[2,2] (convert with .to(atlas::int64) or "
        ".to(atlas::float32))");
  CHECK(test::same_bits(a.to(int64) * 2, from_vector<int64_t>({0, 2, 2, 0}, {2, 2})));
  // With others it counts as 0 and 1.
  CHECK(test::same_bits(from_vector<float>({2, 3}, {2, 1}) * a, from_vector<float>({0, 2, 3, 0}, {2, 2})));
  CHECK(test::same_bits(a + from_vector<int64_t>({5, 6}), from_vector<int64_t>({5, 7, 6, 6}, {2, 2})));
  CHECK(bits(a < from_vector<float>({0.5f, 0.5f})) == "1001");
  Tensor x = ones({2, 2}).set_requires_grad();
  sum(x * a).backward();
  CHECK(test::difference(x.grad(), a.to(float32)) == 0);
}

TEST_CASE("isfinite and allclose") {
  const Tensor x = from_vector<float>({1, NAN, INFINITY, -INFINITY, 0});
  for (DType t : {float32, float64, bfloat16, float16}) CHECK(bits(isfinite(x.to(t))) == "10001");
  CHECK(bits(isfinite(zeros({2}, int64))) == "11");
  CHECK(isfinite(zeros({0, 2})).shape() == Shape{0, 2});
  CHECK(allclose(ones({2}), full({}, 1 + 1e-6)));
  CHECK_FALSE(allclose(ones({2}), full({}, 1 + 1e-4)));
  CHECK(allclose(ones({2}), full({}, 1 + 1e-4), 1e-3));
  CHECK(allclose(zeros({2}), full({2}, 1e-3), 0, 1e-2));
  CHECK_FALSE(allclose(x, x));
  CHECK(allclose(x, x, 1e-5, 1e-8, true));
  CHECK_FALSE(allclose(full({1}, INFINITY), full({1}, -INFINITY)));
  CHECK_FALSE(allclose(full({1}, INFINITY), ones({1})));
  CHECK_FALSE(allclose(ones({1}), full({1}, INFINITY)));
  CHECK(allclose(from_vector<int64_t>({1, 0}), from_vector<float>({1, 0})));
  CHECK(allclose(zeros({0}), zeros({0})));
  CHECK(error_of([] { allclose(zeros({2}), zeros({3})); }) ==
        "[allclose] float32[2] and float32[3] do not broadcast: axis -1 has lengths 2 and 3");
}

TEST_CASE("a tensor in a condition: absent ones are false, comparisons have to be decided") {
  const Tensor none, number = zeros({2}), two = from_vector<float>({1, 2});
  CHECK_FALSE(static_cast<bool>(none));
  CHECK(static_cast<bool>(number));
  CHECK(static_cast<bool>(sum(two) == 3));
  CHECK_FALSE(static_cast<bool>(sum(two) == 4));
  CHECK(error_of([&] { static_cast<void>(static_cast<bool>(two == two)); }) ==
        "[bool] a boolean tensor of shape [2] is neither true nor false: ask any(x) or all(x), or defined()");
}

TEST_CASE("errors") {
  CHECK(error_of([] { logical_and(zeros({2}), zeros({3})); }) ==
        "[logical_and] bool[2] and bool[3] do not broadcast: axis -1 has lengths 2 and 3");
  CHECK(error_of([] { any(zeros({2}), 1); }) == "[any] axis 1 is outside [-1, 1) of float32[2]");
  CHECK(error_of([] { logical_not(zeros({2}, float16)); }) ==
        "[logical_not] needs float32, float64, int64, uint8 or bool, got float16[2] (convert with "
        ".to(atlas::float32))");
  CHECK(error_of([] { logical_or(Tensor(), zeros({2})); }) == "[logical_or] the operand is undefined");
}
