// The 8-bit floating types of files (Micikevicius et al., "FP8 formats for deep learning"), which are read as float32.
// Not in atlas.h: include it by name.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::io {

/// E5M2: sign, 5 bits of exponent (bias 15), 2 of mantissa; infinities and NaN as in IEEE types.
inline float float8_e5m2(uint8_t bits) {
  const int exponent = bits >> 2 & 31, mantissa = bits & 3;
  float v = exponent == 31 ? (mantissa != 0 ? std::numeric_limits<float>::quiet_NaN() : HUGE_VALF)
                           : std::ldexp(static_cast<float>(exponent > 0 ? 4 + mantissa : mantissa),
                                        (exponent > 0 ? exponent : 1) - 15 - 2);
  return (bits & 0x80) != 0 ? -v : v;
}

/// E4M3 without infinities: sign, 4 bits of exponent (bias 7), 3 of mantissa; NaN has all of these set.
inline float float8_e4m3fn(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const float v = (bits & 0x7f) == 0x7f ? std::numeric_limits<float>::quiet_NaN()
                                        : std::ldexp(static_cast<float>(exponent > 0 ? 8 + mantissa : mantissa),
                                                     (exponent > 0 ? exponent : 1) - 7 - 3);
  return (bits & 0x80) != 0 ? -v : v;
}

/// E8M0, a scale: 2^(bits - 127); all bits set is NaN.
inline float float8_e8m0fnu(uint8_t bits) {
  return bits == 0xff ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, bits - 127);
}

}  // namespace atlas::inline ATLAS_ABI::io
