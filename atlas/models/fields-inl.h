// Bodies of fields.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "atlas/core/error.h"
#include "atlas/models/fields.h"

namespace atlas::inline ATLAS_ABI::models {

ATLAS_INLINE bool Range::holds(double v) const {
  if (!choices.empty())
    return std::any_of(choices.begin(), choices.end(), [v](int64_t c) { return static_cast<double>(c) == v; });
  return (least_itself ? v >= least : v > least) && (most_itself ? v <= most : v < most);
}

ATLAS_INLINE std::string Range::str() const {
  if (!choices.empty()) {
    std::string text = "be ";
    for (size_t i = 0; i < choices.size(); ++i)
      text += fmt::format("{}{}", i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ", choices[i]);
    return text;
  }
  if (most < Range().most)
    return fmt::format("be in {}{}, {}{}", least_itself ? '[' : '(', least, most, most_itself ? ']' : ')');
  if (least == 0) return least_itself ? "not be negative" : "be positive";
  return fmt::format("be {} {}", least_itself ? "at least" : "more than", least);
}

namespace detail {

ATLAS_INLINE std::string json_text(const std::string& v) {
  std::string text = "\"";
  for (const char c : v) {
    if (c == '"' || c == '\\')
      text += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      text += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      text += c;
  }
  return text + "\"";
}

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::models
