// Comparisons for every number type, with broadcasting, with numbers and with NaN.
#include "atlas/ops/compare.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/ops/logic.h"
#include "atlas/ops/reduce.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "random_input.h"

using namespace atlas;
using test::error_of;

namespace {

/// "1011": a boolean tensor as text.
std::string bits(const Tensor& t) {
  std::string s;
  for (const bool b : to_vector<bool>(t)) s += b ? '1' : '0';
  return s;
}

}  // namespace

TEST_CASE("every type") {
  for (DType t : {float32, float64, int64, uint8}) {
    CAPTURE(name(t));
    Tensor a = empty({3}, t), b = empty({3}, t);
    copy_elements(a, from_vector<int64_t>({1, 2, 3}));
    copy_elements(b, from_vector<int64_t>({2, 2, 2}));
    CHECK(eq(a, b).dtype() == boolean);
    CHECK(bits(eq(a, b)) == "010");
    CHECK(bits(ne(a, b)) == "101");
    CHECK(bits(lt(a, b)) == "100");
    CHECK(bits(le(a, b)) == "110");
    CHECK(bits(gt(a, b)) == "001");
    CHECK(bits(ge(a, b)) == "011");
    CHECK(bits(eq(a, 2)) == "010");
    CHECK(bits(ne(a, 2)) == "101");
    CHECK(bits(lt(a, 2)) == "100");
    CHECK(bits(le(a, 2)) == "110");
    CHECK(bits(gt(a, 2)) == "001");
    CHECK(bits(ge(a, 2)) == "011");
    CHECK(bits(a == b) == "010");
    CHECK(bits(a != b) == "101");
    CHECK(bits(a < b) == "100");
    CHECK(bits(a <= b) == "110");
    CHECK(bits(a > b) == "001");
    CHECK(bits(a >= b) == "011");
    CHECK(bits(a == 2) == "010");
    CHECK(bits(2 == a) == "010");
    CHECK(bits(a != 2) == "101");
    CHECK(bits(2 != a) == "101");
    CHECK(bits(a < 2) == "100");
    CHECK(bits(2 < a) == "001");
    CHECK(bits(a <= 2) == "110");
    CHECK(bits(2 <= a) == "011");
    CHECK(bits(a > 2) == "001");
    CHECK(bits(2 > a) == "100");
    CHECK(bits(a >= 2) == "011");
    CHECK(bits(2 >= a) == "110");
  }
}

TEST_CASE("broadcast, strided and empty operands") {
  const Tensor a = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3}), column = from_vector<float>({2, 5}, {2, 1});
  CHECK(bits(lt(a, column)) == "100100");
  CHECK(bits(lt(test::scattered(a), column)) == "100100");
  CHECK(bits(ge(column, a)) == "110110");
  CHECK(gt(zeros({0, 3}), zeros({3})).shape() == Shape{0, 3});
  CHECK(bits(eq(zeros({}), zeros({}))) == "1");
  Tensor x = ones({2});
  x.set_requires_grad();
  CHECK_FALSE(gt(x, 0).requires_grad());
}

TEST_CASE("NaN equals nothing") {
  const Tensor nan = full({1}, NAN);
  CHECK(bits(eq(nan, nan)) == "0");
  CHECK(bits(ne(nan, nan)) == "1");
  CHECK(bits(le(nan, 1)) == "0");
  CHECK(bits(ge(nan, 1)) == "0");
}

TEST_CASE("many elements in parallel") {
  const Tensor a = test::random({200, 333}, 1, float32), b = test::random({333}, 2, float32);
  CHECK(test::same_for_any_threads([&] { return std::vector<Tensor>{lt(a, b), ge(b, a)}; }));
  int64_t below = 0;
  const auto y = to_vector<bool>(lt(a, b));
  const auto p = to_vector<float>(a), q = to_vector<float>(b);
  for (size_t i = 0; i < p.size(); ++i) {
    const bool want = p[i] < q[i % 333];
    REQUIRE(y[i] == want);
    below += want;
  }
  CHECK(below > 0);
}

TEST_CASE("errors") {
  CHECK(error_of([] { eq(zeros({2}), zeros({3})); }) ==
        "[eq] float32[2] and float32[3] do not broadcast: axis -1 has lengths 2 and 3");
  CHECK(error_of([] { lt(zeros({2}), zeros({2}, int64)); }) ==
        "[lt] dtypes differ: float32[2] and int64[2] (convert one with .to(...))");
  CHECK(error_of([] { lt(zeros({2}), zeros({2}, float16)); }) ==
        "[lt] dtypes differ: float32[2] and float16[2] (float16 has no arithmetic: convert it with .to(...))");
  CHECK(error_of([] { gt(zeros({2}, float16), zeros({2}, float16)); }) ==
        "[gt] needs float32, float64, int64, uint8 or bool, got float16[2] (convert with .to(atlas::float32))");
  CHECK(error_of([] { ge(zeros({2}, int64), 0.5); }).find("[ge] int64[2] takes whole numbers, got 0.5") == 0);
  CHECK(error_of([] { ne(Tensor(), 1); }) == "[ne] the operand is undefined");
}

TEST_CASE("comparisons that are chained are refused") {
  const Tensor x = arange(6).to(float32);
  CHECK(error_of([&] { (void)(0 < x < 1); }).find("(0 < x) & (x < 1)") != std::string::npos);
  CHECK(error_of([&] { (void)(x > 4 >= 1); }).find("make no chain") != std::string::npos);
  const Tensor both = (0 < x) & (x < 3);
  CHECK(sum(both.to(int64)).item<int64_t>() == 2);
  CHECK(sum(lt(both, 1).to(int64)).item<int64_t>() == 4);
}
