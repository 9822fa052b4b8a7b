// Creation: constants, ranges, random numbers that depend on the seed alone, foreign memory.
#include "atlas/tensor/create.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "atlas/core/normal.h"
#include "atlas/core/parallel.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/memory.h"

using namespace atlas;

namespace {
template <class T>
std::vector<T> values(const Tensor& t) {
  return to_vector<T>(t);
}
}  // namespace

TEST_CASE("constants") {
  CHECK(values<float>(full({2, 2}, 1.5)) == std::vector<float>(4, 1.5f));
  CHECK(values<int64_t>(ones({3}, int64)) == std::vector<int64_t>{1, 1, 1});
  CHECK(values<uint8_t>(full({2}, 255, uint8)) == std::vector<uint8_t>{255, 255});
  CHECK(zeros_like(ones({2}, boolean)).dtype() == boolean);
  CHECK(ones_like(zeros({2, 5}, float64)).shape() == Shape{2, 5});
  CHECK(values<float>(eye(2, 3)) == std::vector<float>{1, 0, 0, 0, 1, 0});
  CHECK(values<float>(eye(3, 2)) == std::vector<float>{1, 0, 0, 1, 0, 0});
  CHECK(eye(0).shape() == Shape{0, 0});
  CHECK_THROWS_AS(zeros({2, -3}), Error);
}

TEST_CASE("integers and bool take no number that they cannot hold") {
  CHECK_THROWS_WITH_AS(full({2}, 1.5, int64),
                       "[full] int64[2] takes whole numbers, got 1.5 (floats take any: .to(atlas::float32))", Error);
  CHECK_THROWS_WITH_AS(
      full({1}, 256, uint8),
      "[full] uint8[1] takes whole numbers from 0 to 255, got 256 (floats take any: .to(atlas::float32))", Error);
  CHECK_THROWS_WITH_AS(full({2}, 2, boolean), doctest::Contains("[full] bool[2] takes 0 and 1, got 2"), Error);
  CHECK_THROWS_WITH_AS(full({2}, 0x1p60, int64), doctest::Contains("[full] int64[2] takes numbers up to 2^53 (larger"),
                       Error);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (DType t : {int64, uint8, boolean})
    for (double bad : {0.5, -0.5, 1e300, std::nan(""), kInfinity, -kInfinity})
      CHECK_THROWS_AS(full({1}, bad, t), Error);
  for (DType t : {float32, float64, bfloat16, float16})
    for (double any : {0.1, 1e300, kInfinity}) CHECK(full({1}, any, t).dtype() == t);
  CHECK(full({}, -0x1p53, int64).item<int64_t>() == -(int64_t{1} << 53));
  Tensor k = zeros({2}, int64);
  CHECK_THROWS_WITH_AS(k[0] = 1.5, doctest::Contains("[fill_] int64[] takes whole numbers, got 1.5"), Error);
  CHECK_THROWS_AS(full_like(k, std::nan("")), Error);
  // Ranges: their first, last and second element tell about all.
  CHECK(arange(256, uint8)[255].item<int>() == 255);
  CHECK(values<int64_t>(arange(1.0, 7.0, 2.0, int64)) == std::vector<int64_t>{1, 3, 5});
  CHECK_THROWS_WITH_AS(arange(300, uint8), doctest::Contains("[arange] uint8[300] takes whole numbers"), Error);
  CHECK_THROWS_AS(arange(1, -2, -1, uint8), Error);
  CHECK_THROWS_WITH_AS(arange(0.0, 1.5, 0.5, int64), doctest::Contains("[arange] int64[3] takes whole numbers"), Error);
  CHECK_THROWS_AS(arange(0.5, 3.0, 1.0, int64), Error);
  CHECK_THROWS_WITH_AS(linspace(0, 10, 4, int64), doctest::Contains("[linspace] int64[4] takes whole numbers"), Error);
  CHECK_THROWS_AS(linspace(0, 256, 2, uint8), Error);
}

TEST_CASE("arange") {
  CHECK(values<int64_t>(arange(4)) == std::vector<int64_t>{0, 1, 2, 3});
  CHECK(values<int64_t>(arange(2, 9, 3)) == std::vector<int64_t>{2, 5, 8});
  CHECK(values<int64_t>(arange(2, 8, 3)) == std::vector<int64_t>{2, 5});
  CHECK(values<int64_t>(arange(5, 0, -2)) == std::vector<int64_t>{5, 3, 1});
  CHECK(arange(5, 0).numel() == 0);
  CHECK(arange(0).numel() == 0);
  CHECK(values<float>(arange(0.0, 1.0, 0.25)) == std::vector<float>{0, 0.25f, 0.5f, 0.75f});
  CHECK(values<double>(arange(0, 3, 1, float64)) == std::vector<double>{0, 1, 2});
  constexpr int64_t big = std::numeric_limits<int64_t>::max(), low = std::numeric_limits<int64_t>::min();
  CHECK(values<int64_t>(arange(big - 2, big)) == std::vector<int64_t>{big - 2, big - 1});
  CHECK(values<int64_t>(arange(low, big, big)) == std::vector<int64_t>{low, -1, big - 1});
  CHECK(values<int64_t>(arange(big, low, low)) == std::vector<int64_t>{big, -1});
  CHECK_THROWS_WITH_AS(arange(0, 5, 0), "[arange] step must not be 0", Error);
  CHECK_THROWS_WITH_AS(arange(low, big), doctest::Contains("too many elements"), Error);
  CHECK_THROWS_WITH_AS(arange(0.0, 1e30), doctest::Contains("too many elements"), Error);
  CHECK_THROWS_AS(arange(0.0, std::numeric_limits<double>::infinity()), Error);
}

TEST_CASE("linspace") {
  CHECK(values<float>(linspace(0, 1, 5)) == std::vector<float>{0, 0.25f, 0.5f, 0.75f, 1});
  CHECK(linspace(0.1, 0.7, 13, float64)[12].item<double>() == 0.7);
  CHECK(linspace(0.1, 0.7, 13, float64)[0].item<double>() == 0.1);
  CHECK(values<float>(linspace(3, 9, 1)) == std::vector<float>{3});
  CHECK(linspace(3, 9, 0).numel() == 0);
  CHECK(values<int64_t>(linspace(0, 10, 3, int64)) == std::vector<int64_t>{0, 5, 10});
  CHECK_THROWS_AS(linspace(0, 1, -1), Error);
}

TEST_CASE("random numbers depend on seed and order of calls, not on threads or shape") {
  const int before = num_threads();
  const auto draw = [](int threads) {
    set_num_threads(threads);
    Generator g{42, 0};
    std::vector<Tensor> v{rand({50, 1000}, float32, g), randn({50000}, float64, g),
                          trunc_normal({50000}, 1, -2, 2, float32, g), uniform({50000}, -3, 5, float64, g)};
    CHECK(g.stream == 4);
    return v;
  };
  const auto one = draw(1), three = draw(3);
  set_num_threads(before);
  CHECK(values<float>(one[0]) == values<float>(three[0]));
  CHECK(values<double>(one[1]) == values<double>(three[1]));
  CHECK(values<float>(one[2]) == values<float>(three[2]));
  CHECK(values<double>(one[3]) == values<double>(three[3]));
  CHECK(one[0][1][5].item<float>() == Philox(42, 0, 1005).uniform(0));
  CHECK(one[1][77].item<double>() == Philox(42, 1, 77).normal());
  manual_seed(5);
  const Tensor a = randn({10}), b = randn({10});
  manual_seed(5);
  CHECK(values<float>(randn({10})) == values<float>(a));
  CHECK(values<float>(randn({10})) == values<float>(b));
  CHECK(values<float>(a) != values<float>(b));
  CHECK(rand({0, 3}).numel() == 0);
  CHECK_THROWS_AS(rand({2}, int64), Error);
}

TEST_CASE("uniform: bounds and moments") {
  const Tensor u = uniform({40000}, -1, 3, float64);
  double sum = 0, least = 9, most = -9;
  for (double x : values<double>(u)) {
    sum += x;
    least = std::min(least, x);
    most = std::max(most, x);
  }
  CHECK(least >= -1);
  CHECK(most < 3);
  CHECK(sum / 40000 == doctest::Approx(1).epsilon(0.03));
  // The gap between neighboring floats is wider than the interval: still below `high`.
  for (float x : values<float>(uniform({1000}, 16777216, 16777218))) CHECK_UNARY(x >= 16777216.0f && x < 16777218.0f);
  CHECK_THROWS_WITH_AS(uniform({2}, 1, 0), "[uniform] needs finite bounds low <= high, got [1, 0)", Error);
}

TEST_CASE("trunc_normal: bounds, moments, tails") {
  for (double q : {1e-200, 1e-12, 0.001, 0.2, 0.5, 0.75, 0.999})
    CHECK(detail::normal_cdf(detail::normal_quantile(q)) == doctest::Approx(q).epsilon(1e-11));
  const auto moments = [](const Tensor& t) {
    double mean = 0, square = 0;
    for (double x : values<double>(t)) {
      mean += x;
      square += x * x;
    }
    const double n = static_cast<double>(t.numel());
    return std::pair{mean / n, square / n - mean / n * (mean / n)};
  };
  Generator g{3, 0};
  const Tensor t = trunc_normal({60000}, 1, -2, 2, float64, g);
  for (double x : values<double>(t)) CHECK_UNARY(x >= -2 && x <= 2);
  CHECK(std::abs(moments(t).first) < 0.02);
  CHECK(moments(t).second == doctest::Approx(0.7737).epsilon(0.02));  // 1 - 4 phi(2) / (2 Phi(2) - 1)
  // Bounds are absolute: with std 0.02 they hardly cut.
  CHECK(moments(trunc_normal({60000}, 0.02, -2, 2, float64, g)).second == doctest::Approx(0.0004).epsilon(0.03));
  // Far in either tail: E[x | x > 5] = phi(5) / Phi(-5) = 5.1865.
  CHECK(moments(trunc_normal({20000}, 1, 5, 50, float64, g)).first == doctest::Approx(5.1865).epsilon(0.003));
  CHECK(moments(trunc_normal({20000}, 1, -50, -5, float64, g)).first == doctest::Approx(-5.1865).epsilon(0.003));
  CHECK_THROWS_AS(trunc_normal({2}, 0), Error);
  CHECK_THROWS_WITH_AS(trunc_normal({2}, 1, 2, 2), "[trunc_normal] needs bounds a < b, got [2, 2]", Error);
  CHECK_THROWS_AS(trunc_normal({2}, 1, 500, 600), Error);
}

TEST_CASE("from_vector copies, from_blob does not") {
  const Tensor v = from_vector<bool>({true, false, true});
  CHECK(v.dtype() == boolean);
  CHECK(v[2].item<bool>());
  CHECK(from_vector(std::vector<int64_t>{}, {0, 4}).numel() == 0);
  CHECK_THROWS_WITH_AS(from_vector<float>({1, 2, 3}, {2, 2}),
                       "[from_vector] 3 values for shape [2,2], which has 4 elements", Error);
  double data[6] = {1, 2, 3, 4, 5, 6};
  int released = 0;
  {
    Tensor outer;
    {
      Tensor b = from_blob(data, {2, 3}, float64, [&] { ++released; });
      b.at<double>({1, 0}) = 40;
      outer = b.detach();
    }
    CHECK(data[3] == 40);
    CHECK(released == 0);
    data[0] = 10;
    CHECK(outer[0][0].item<double>() == 10);
  }
  CHECK(released == 1);
  CHECK_THROWS_WITH_AS(from_blob(nullptr, {2}, float32), "[from_blob] null pointer for float32[2]", Error);
  CHECK_THROWS_WITH_AS(from_blob(reinterpret_cast<char*>(data) + 1, {2}, float32),
                       doctest::Contains("is not a multiple of the 4 bytes"), Error);
  CHECK(from_blob(nullptr, {0, 2}, float32).numel() == 0);
}

TEST_CASE("arange of a real end is real") {
  CHECK(arange(2.5).dtype() == float32);
  CHECK(to_vector<float>(arange(2.5)) == std::vector<float>{0, 1, 2});
  CHECK(arange(3).dtype() == int64);
  CHECK(arange(2.5, float64).dtype() == float64);
}
