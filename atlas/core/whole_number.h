// Whole numbers out of text: one reader for options, names of data sets and files.
// Not in atlas.h: include it by name.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

/// The whole number that a text is: decimal digits, perhaps after a sign; zeros in front mean nothing (010 is ten).
/// @param what  whose value it is, for the message
/// @throws Error for any other text, and for a number beyond 64 bits, which is called too large (or too small).
inline int64_t whole_number(std::string_view text, std::string_view what) {
  std::string_view digits = text;
  if (digits.starts_with('+') && !digits.starts_with("+-")) digits.remove_prefix(1);
  int64_t value = 0;
  const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  check(bad != std::errc::result_out_of_range, what, "'{}' is too {}: whole numbers lie between -2^63 and 2^63 - 1",
        text, text.starts_with('-') ? "small" : "large");
  check(bad == std::errc{} && end == digits.data() + digits.size(), what, "'{}' is no whole number", text);
  return value;
}

}  // namespace atlas::inline ATLAS_ABI
