// on_one_line: names of files and classes from anywhere, in messages and tables of one line each.
// Not in atlas.h: include it by name.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// Text that stays on its line and does nothing to a terminal: control characters become escapes of two hexadecimal
/// digits, all else (UTF-8) is kept.
inline std::string on_one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f)
      out += c;
    else
      out += fmt::format("\\x{:02x}", byte);
  }
  return out;
}

}  // namespace atlas::inline ATLAS_ABI
