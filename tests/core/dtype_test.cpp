// 16-bit floats against their definitions, over all 65536 patterns; conversions between element types.
// ctest-device: cpu
#include "atlas/core/dtype.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "atlas/ops/arithmetic.h"

using namespace atlas;

namespace {

/// The value of a 16-bit float with `mantissa_bits`, from the definition of IEEE 754.
double decode(uint16_t bits, int mantissa_bits) {
  const int exponent_bits = 15 - mantissa_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1),
            mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1)
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

/// Every value, every midpoint between neighbors, and the floats next to the midpoints.
template <class T>
void check_all(int mantissa_bits) {
  int wrong = 0;
  const auto expect = [&](float x, uint16_t bits) {
    if (T(x).bits != bits) ++wrong;
    if (T(-x).bits != (bits ^ 0x8000)) ++wrong;
  };
  const uint16_t infinity = static_cast<uint16_t>(0x7fff >> mantissa_bits << mantissa_bits);
  for (int b = 0; b < 65536; ++b) {
    T t;
    t.bits = static_cast<uint16_t>(b);
    const double want = decode(t.bits, mantissa_bits);
    const float got = static_cast<float>(t);
    if (std::isnan(want)) {
      if (!std::isnan(got) || !std::isnan(static_cast<float>(T(got)))) ++wrong;
      continue;
    }
    if (static_cast<double>(got) != want || std::signbit(got) != std::signbit(want) || T(got).bits != b) ++wrong;
    if (b >= infinity) continue;
    // The midpoint to the next value; the one past the largest value counts as 2^(largest exponent + 1).
    const uint16_t next = static_cast<uint16_t>(b + 1);
    const double above =
        next == infinity ? 2 * want - decode(static_cast<uint16_t>(b - 1), mantissa_bits) : decode(next, mantissa_bits);
    const float middle = static_cast<float>((want + above) / 2);
    expect(middle, b % 2 == 0 ? static_cast<uint16_t>(b) : next);
    expect(std::nextafter(middle, 0.0f), static_cast<uint16_t>(b));
    expect(std::nextafter(middle, std::numeric_limits<float>::infinity()), next);
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("bfloat16 reads, writes and rounds to nearest even, for every pattern") { check_all<bf16>(7); }
TEST_CASE("float16 reads, writes and rounds to nearest even, for every pattern") { check_all<half>(10); }

TEST_CASE("16-bit floats: NaN stays NaN, overflow is infinity") {
  for (uint32_t u : {0x7f800001u, 0xff800001u, 0x7fc00000u, 0x7fffffffu, 0xffffffffu}) {
    const float nan = std::bit_cast<float>(u);
    CHECK(std::isnan(static_cast<float>(bf16(nan))));
    CHECK(std::isnan(static_cast<float>(half(nan))));
  }
  CHECK(static_cast<float>(half(65504.0f)) == 65504.0f);
  CHECK(static_cast<float>(half(65519.996f)) == 65504.0f);
  CHECK(std::isinf(static_cast<float>(half(65520.0f))));
  CHECK(std::isinf(static_cast<float>(bf16(std::numeric_limits<float>::max()))));
  CHECK(static_cast<float>(half(0x1p-24f)) == 0x1p-24f);
  CHECK(static_cast<float>(half(0x1p-25f)) == 0.0f);  // a tie: the even neighbor is 0
  CHECK(static_cast<float>(half(0x1.8p-24f)) == 0x1p-23f);
}

TEST_CASE("convert: truncation, clamping, truth") {
  CHECK(convert<uint8_t>(-3.5f) == 0);
  CHECK(convert<uint8_t>(255.9f) == 255);
  CHECK(convert<uint8_t>(1e20f) == 255);
  CHECK(convert<uint8_t>(7.9) == 7);
  CHECK(convert<uint8_t>(std::nanf("")) == 0);
  CHECK(convert<int64_t>(-2.9) == -2);
  CHECK(convert<int64_t>(1e30) == std::numeric_limits<int64_t>::max());
  CHECK(convert<int64_t>(-1e30f) == std::numeric_limits<int64_t>::min());
  CHECK(convert<bool>(0.1f));
  CHECK(convert<bool>(std::nanf("")));
  CHECK_FALSE(convert<bool>(bf16(0.0f)));
  CHECK(convert<double>(half(0.5f)) == 0.5);
  CHECK(convert<int64_t>(bf16(-3.0f)) == -3);
  CHECK(static_cast<float>(convert<bf16>(true)) == 1.0f);
}

TEST_CASE("names, sizes, dispatch") {
  CHECK(name(bfloat16) == "bfloat16");
  CHECK(name(boolean) == "bool");
  CHECK(item_size(float64) == 8);
  CHECK(is_floating(float16));
  CHECK_FALSE(is_floating(int64));
  for (DType t : {float32, float64, bfloat16, float16, int64, uint8, boolean})
    visit_any(t, [&](auto tag) {
      CHECK(dtype_of<decltype(tag)>() == t);
      CHECK(static_cast<int64_t>(sizeof(tag)) == item_size(t));
    });
  CHECK_THROWS_WITH_AS(visit_float(int64, "exp", [](auto) {}),
                       "[exp] needs float32 or float64, got int64 (convert with .to(atlas::float32))", Error);
}
