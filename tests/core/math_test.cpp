// The float32 functions against the standard library in float64: error in units in the last place, and special values.
// ctest-device: cpu
#include "atlas/core/math.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <vector>

#include "atlas/core/isa.h"
#include "atlas/cpu/row_reduce.h"
#include "atlas/cpu/simd.h"
#include "atlas/ops/arithmetic.h"

using namespace atlas;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Largest |f - reference| over floats in [lo, hi], in units of the reference's last place. The samples are equally
/// spaced bit patterns, so that every exponent is visited.
template <class F, class G>
double worst_ulp(F f, G reference, float lo, float hi) {
  double worst = 0;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 9973) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (!(x >= lo && x <= hi)) continue;
    const double want = reference(static_cast<double>(x));
    const float got = f(x), rounded = static_cast<float>(want);
    if (!std::isfinite(rounded)) {
      const bool same = got == rounded || (std::isnan(got) && std::isnan(rounded));
      if (!same) worst = std::numeric_limits<double>::infinity();
      continue;
    }
    int exponent = 0;
    std::frexp(rounded, &exponent);
    const double error = std::abs(static_cast<double>(got) - want) / std::ldexp(1.0, std::max(exponent - 24, -149));
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

}  // namespace

TEST_CASE("errors stay within the documented units in the last place") {
  CHECK(worst_ulp([](float x) { return math::exp(x); }, [](double x) { return std::exp(x); }, -kInf, kInf) <= 2);
  CHECK(worst_ulp([](float x) { return math::log(x); }, [](double x) { return std::log(x); }, -kInf, kInf) <= 2);
  CHECK(worst_ulp([](float x) { return math::tanh(x); }, [](double x) { return std::tanh(x); }, -kInf, kInf) <= 2);
  CHECK(worst_ulp([](float x) { return math::erf(x); }, [](double x) { return std::erf(x); }, -kInf, kInf) <= 2);
  CHECK(worst_ulp([](float x) { return math::sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }, -87,
                  kInf) <= 3);
  CHECK(worst_ulp([](float x) { return math::softplus(x); }, [](double x) { return math::softplus(x); }, -kInf, kInf) <=
        3);
}

TEST_CASE("the normal distribution's functions stay within the documented errors") {
  double cdf = 0, tail = 0, density = 0, approximation = 0;
  for (double d = -20; d <= 20; d += 1.0 / 1024) {
    const float x = static_cast<float>(d * 1.0000123);
    const double v = static_cast<double>(x), want = math::normal_cdf(v);
    cdf = std::max(cdf, std::abs(static_cast<double>(math::normal_cdf(x)) - want));
    if (x < 0 && x > -12.9f) tail = std::max(tail, std::abs(static_cast<double>(math::normal_cdf(x)) / want - 1));
    density = std::max(density, std::abs(static_cast<double>(math::normal_density(x)) - math::normal_density(v)));
    approximation =
        std::max(approximation, std::abs(static_cast<double>(math::normal_cdf_tanh(x)) - math::normal_cdf_tanh(v)));
  }
  CHECK(cdf <= 1e-7);
  CHECK(tail <= 1.0 / 25);
  CHECK(density <= 1e-7);
  CHECK(approximation <= 1.2e-7);
  for (auto f : {+[](float x) { return math::normal_cdf(x); }, +[](float x) { return math::normal_cdf_tanh(x); }}) {
    CHECK(f(0.0f) == 0.5f);
    for (float x : {14.0f, 1e10f, 3e38f, kInf}) {
      CHECK(f(x) == 1);
      CHECK(f(-x) == 0);
    }
    CHECK(std::isnan(f(kNaN)));
  }
  CHECK(math::normal_density(3e38f) == 0);
  CHECK(math::normal_density(-kInf) == 0);
  CHECK(std::isnan(math::normal_density(kNaN)));
}

TEST_CASE("infinities, overflow and underflow") {
  CHECK(math::exp(kInf) == kInf);
  CHECK(math::exp(-kInf) == 0);
  CHECK(math::exp(88.73f) == kInf);
  CHECK(math::exp(88.72f) < kInf);
  CHECK(math::exp(-104.0f) == 0);
  CHECK(math::exp(-100.0f) == doctest::Approx(3.78e-44).epsilon(0.05));  // subnormal
  CHECK(math::exp(0.0f) == 1);
  CHECK(math::log(0.0f) == -kInf);
  CHECK(math::log(-0.0f) == -kInf);
  CHECK(math::log(kInf) == kInf);
  CHECK(math::log(1.0f) == 0);
  CHECK(math::log(std::numeric_limits<float>::denorm_min()) == doctest::Approx(-103.27893));
  CHECK(math::tanh(kInf) == 1);
  CHECK(math::tanh(-kInf) == -1);
  CHECK(math::erf(kInf) == 1);
  CHECK(math::erf(-kInf) == -1);
  CHECK(math::sigmoid(kInf) == 1);
  CHECK(math::sigmoid(-kInf) == 0);
  CHECK(math::sigmoid(0.0f) == 0.5f);
  CHECK(math::softplus(kInf) == kInf);
  CHECK(math::softplus(-kInf) == 0);
  CHECK(math::softplus(1000.0f) == 1000);
}

TEST_CASE("odd functions keep the sign, zero included") {
  for (float x : {1e-30f, 0.3f, 0.7f, 1.5f, 9.0f, 100.0f}) {
    CHECK(math::tanh(-x) == -math::tanh(x));
    CHECK(math::erf(-x) == -math::erf(x));
  }
  CHECK(std::signbit(math::tanh(-0.0f)));
  CHECK(std::signbit(math::erf(-0.0f)));
}

TEST_CASE("NaN stays NaN") {
  CHECK(std::isnan(math::exp(kNaN)));
  CHECK(std::isnan(math::log(kNaN)));
  CHECK(std::isnan(math::log(-1.0f)));
  CHECK(std::isnan(math::log(-kInf)));
  CHECK(std::isnan(math::tanh(kNaN)));
  CHECK(std::isnan(math::erf(kNaN)));
  CHECK(std::isnan(math::sigmoid(kNaN)));
  CHECK(std::isnan(math::softplus(kNaN)));
}

TEST_CASE("float64 is the standard library's") {
  for (double x : {-30.0, -1.25, 0.0, 0.5, 3.0, 40.0}) {
    CHECK(math::exp(x) == std::exp(x));
    CHECK(math::tanh(x) == std::tanh(x));
    CHECK(math::erf(x) == std::erf(x));
    CHECK(math::sigmoid(x) == doctest::Approx(1 / (1 + std::exp(-x))).epsilon(1e-15));
    CHECK(math::softplus(x) == doctest::Approx(x > 30 ? x : std::log(1 + std::exp(x))).epsilon(1e-12));
  }
  CHECK(math::log(2.5) == std::log(2.5));
}

TEST_CASE("a row's exponentials and maximum, of every instruction set") {
  const CpuIsa before = cpu_isa();
  for (const CpuIsa isa : {CpuIsa::portable, CpuIsa::avx2, CpuIsa::avx512}) {
    if (!cpu_supports(isa)) continue;
    set_cpu_isa(isa);
    CAPTURE(name(isa));
    const cpu::Simd& kernels = cpu::simd();
    const auto one = [&](float x) {
      std::vector<float> row(32, 0.0f);
      row[5] = x;
      kernels.row_exp(row.data(), 32, 0.0f);
      return row[5];
    };
    CHECK(worst_ulp(
              one, [](double x) { return std::exp(x); }, -86.5f, 1.0f) <= 2);
    CHECK(one(-86.7f) == 0);
    CHECK(one(-kInf) == 0);
    CHECK(std::isnan(one(kNaN)));

    std::vector<float> row(96);
    double want = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = static_cast<float>(i * 37 % 96) * 0.1f;
      want += std::exp(static_cast<double>(row[i]) - 9.5);
    }
    for (size_t i = 0; i < row.size(); ++i) {  // wherever it stands
      std::vector<float> other = row;
      other[i] = 11.0f;
      CHECK(cpu::row_max(96, other.data()) == 11.0f);
    }
    CHECK(cpu::row_max(96, row.data()) == *std::max_element(row.begin(), row.end()));
    CHECK(kernels.row_exp(row.data(), 96, 9.5f) == doctest::Approx(want).epsilon(1e-6));
  }
  set_cpu_isa(before);
}
