// Element types: the enum, the two 16-bit floats (storage and conversion only), and the type dispatchers.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

/// Element type of a tensor. bfloat16 and float16 are stored and converted; arithmetic is in float32 and float64.
enum class DType : uint8_t { float32, float64, bfloat16, float16, int64, uint8, boolean };

inline constexpr DType float32 = DType::float32;
inline constexpr DType float64 = DType::float64;
inline constexpr DType bfloat16 = DType::bfloat16;
inline constexpr DType float16 = DType::float16;
inline constexpr DType int64 = DType::int64;
inline constexpr DType uint8 = DType::uint8;
inline constexpr DType boolean = DType::boolean;

/// bfloat16 as stored: the upper half of a float32. Conversion from float rounds to nearest even.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  ATLAS_HOST_DEVICE explicit bf16(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x);
    // A NaN keeps a set mantissa bit, or rounding could turn it into infinity.
    bits = (u & 0x7fffffffu) > 0x7f800000u ? static_cast<uint16_t>((u >> 16) | 0x40u)
                                           : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  ATLAS_HOST_DEVICE explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

/// IEEE binary16 as stored. Conversion from float rounds to nearest even, overflow gives infinity.
struct half {
  uint16_t bits = 0;
  half() = default;
  ATLAS_HOST_DEVICE explicit half(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x), sign = (u >> 16) & 0x8000u, mag = u & 0x7fffffffu;
    uint32_t h = 0;
    if (mag > 0x7f800000u) {
      h = 0x7e00u;  // NaN
    } else if (mag >= 0x477ff000u) {
      h = 0x7c00u;  // 65520 and more round to infinity
    } else if (mag < 0x38800000u) {
      // Subnormal: adding 0.5 moves the value's bits to the bottom of the mantissa, rounded by the adder.
      h = std::bit_cast<uint32_t>(std::bit_cast<float>(mag) + 0.5f) - 0x3f000000u;
    } else {
      h = (mag - 0x38000000u + 0xfffu + ((mag >> 13) & 1u)) >> 13;
    }
    bits = static_cast<uint16_t>(sign | h);
  }
  ATLAS_HOST_DEVICE explicit operator float() const {
    const uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, mantissa = bits & 1023u;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
    if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
    const float tiny = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -tiny : tiny;
  }
};

/// Bytes of one element.
constexpr int64_t item_size(DType t) {
  switch (t) {
    case DType::float64:
    case DType::int64:
      return 8;
    case DType::float32:
      return 4;
    case DType::bfloat16:
    case DType::float16:
      return 2;
    case DType::uint8:
    case DType::boolean:
      return 1;
  }
  return 0;
}

/// "float32", "int64", "bool", ...
constexpr std::string_view name(DType t) {
  switch (t) {
    case DType::float32:
      return "float32";
    case DType::float64:
      return "float64";
    case DType::bfloat16:
      return "bfloat16";
    case DType::float16:
      return "float16";
    case DType::int64:
      return "int64";
    case DType::uint8:
      return "uint8";
    case DType::boolean:
      return "bool";
  }
  return "?";
}

/// True for the four floating-point types (those that may carry gradients).
constexpr bool is_floating(DType t) { return t <= DType::float16; }

/// The DType of a C++ element type.
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return DType::float32;
  else if constexpr (std::is_same_v<T, double>)
    return DType::float64;
  else if constexpr (std::is_same_v<T, bf16>)
    return DType::bfloat16;
  else if constexpr (std::is_same_v<T, half>)
    return DType::float16;
  else if constexpr (std::is_same_v<T, int64_t>)
    return DType::int64;
  else if constexpr (std::is_same_v<T, uint8_t>)
    return DType::uint8;
  else {
    static_assert(std::is_same_v<T, bool>, "not an element type of atlas::Tensor");
    return DType::boolean;
  }
}

/// Calls f(T{}) for the float type T of `t` (float32 or float64); raises an error naming `op` for any other.
template <class F>
decltype(auto) visit_float(DType t, std::string_view op, F&& f) {
  if (t == DType::float32) return f(float{});
  if (t == DType::float64) return f(double{});
  fail(op, "needs float32 or float64, got {} (convert with .to(atlas::float32))", name(t));
}

/// Calls f(T{}) for the types that support arithmetic: float32, float64, int64, uint8.
template <class F>
decltype(auto) visit_number(DType t, std::string_view op, F&& f) {
  if (t == DType::float32) return f(float{});
  if (t == DType::float64) return f(double{});
  if (t == DType::int64) return f(int64_t{});
  if (t == DType::uint8) return f(uint8_t{});
  fail(op, "needs float32, float64, int64 or uint8, got {} (convert with {}.to(atlas::float32))", name(t),
       is_floating(t) ? "" : ".to(atlas::int64) or ");
}

/// Calls f(T{}) for any element type.
template <class F>
decltype(auto) visit_any(DType t, F&& f) {
  switch (t) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::bfloat16:
      return f(bf16{});
    case DType::float16:
      return f(half{});
    case DType::int64:
      return f(int64_t{});
    case DType::uint8:
      return f(uint8_t{});
    case DType::boolean:
      break;
  }
  return f(bool{});
}

/// Value conversion between any two element types; 16-bit floats go through float32, bool is x != 0; floats become
/// integers by truncation, clamped to the range of the type, and NaN becomes 0.
template <class To, class From>
ATLAS_HOST_DEVICE To convert(From x) {
  constexpr bool from16 = std::is_same_v<From, bf16> || std::is_same_v<From, half>;
  constexpr bool to16 = std::is_same_v<To, bf16> || std::is_same_v<To, half>;
  if constexpr (std::is_same_v<To, From>)
    return x;
  else if constexpr (from16)
    return convert<To>(static_cast<float>(x));
  else if constexpr (to16)
    return To(static_cast<float>(x));
  else if constexpr (std::is_same_v<To, bool>)
    return x != From(0);
  else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    // 2^63 is a float, 2^63 - 1 is not: the upper bound is compared as the power of two.
    constexpr From low = static_cast<From>(std::numeric_limits<To>::min());
    constexpr From above =
        std::is_same_v<To, int64_t> ? From(0x1p63) : static_cast<From>(std::numeric_limits<To>::max()) + From(1);
    if (x >= above) return std::numeric_limits<To>::max();
    return x > low ? static_cast<To>(x) : x <= low ? std::numeric_limits<To>::min() : To(0);
  } else
    return static_cast<To>(x);
}

}  // namespace atlas::inline ATLAS_ABI
