// The one exception type of the library, and the two ways to raise it.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// Every error the library raises. what() reads "[op] requirement, operands, hint".
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws Error with the text "[op] message".
template <class... Args>
[[noreturn]] void fail(std::string_view op, fmt::format_string<Args...> text, Args&&... args) {
  throw Error("[" + std::string(op) + "] " + fmt::format(text, std::forward<Args>(args)...));
}

/// Throws Error("[op] message") unless `ok`; the message is formatted only then.
template <class... Args>
void check(bool ok, std::string_view op, fmt::format_string<Args...> text, Args&&... args) {
  if (!ok) [[unlikely]]
    fail(op, text, std::forward<Args>(args)...);
}

}  // namespace atlas::inline ATLAS_ABI
