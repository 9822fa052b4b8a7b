// How an error's text is made.
#pragma once

#include <fmt/core.h>

#include "atlas/core/error.h"
#include "atlas/core/one_line.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// One argument as the replacement field `field` ("{}", "{:.3g}") has it.
inline std::string field_text(const std::string& field, const ErrorArg& a) {
  switch (a.kind) {
    case ErrorArg::Kind::boolean:
      return fmt::vformat(field, fmt::make_format_args(a.boolean));
    case ErrorArg::Kind::character:
      return fmt::vformat(field, fmt::make_format_args(a.character));
    case ErrorArg::Kind::integer:
      return fmt::vformat(field, fmt::make_format_args(a.integer));
    case ErrorArg::Kind::natural:
      return fmt::vformat(field, fmt::make_format_args(a.natural));
    case ErrorArg::Kind::real:
      return fmt::vformat(field, fmt::make_format_args(a.real));
    case ErrorArg::Kind::text:
    case ErrorArg::Kind::object:
      break;
  }
  const std::string text = on_one_line(
      a.kind == ErrorArg::Kind::object ? a.str(a.pointer) : std::string(static_cast<const char*>(a.pointer), a.size));
  return fmt::vformat(field, fmt::make_format_args(text));
}

/// `text` with its fields replaced, one after the other. What does not fit its arguments stays as it is: an error is
/// never lost for its text.
inline std::string filled_in(std::string_view text, const ErrorArg* args, size_t count) {
  std::string out;
  for (size_t i = 0, next = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      out += c;
      ++i;
      continue;
    }
    const size_t end = c == '{' ? text.find('}', i) : std::string_view::npos;
    if (end == std::string_view::npos || next == count) {
      out += c;
      continue;
    }
    const std::string field(text.substr(i, end - i + 1));
    try {
      out += field_text(field, args[next++]);
    } catch (const std::exception&) {
      out += field;
    }
    i = end;
  }
  return out;
}

}  // namespace detail

ATLAS_INLINE void detail::fail_with(std::string_view op, std::string_view text, const ErrorArg* args, size_t count) {
  throw Error("[" + std::string(op) + "] " + filled_in(text, args, count));
}

}  // namespace atlas::inline ATLAS_ABI
