// How an error's text is made.
#pragma once

#include <fmt/args.h>
#include <fmt/core.h>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE void detail::fail_with(std::string_view op, std::string_view text, const ErrorArg* args, size_t count) {
  fmt::dynamic_format_arg_store<fmt::format_context> store;
  for (size_t i = 0; i < count; ++i) {
    const ErrorArg& a = args[i];
    switch (a.kind) {
      case ErrorArg::Kind::boolean:
        store.push_back(a.boolean);
        break;
      case ErrorArg::Kind::character:
        store.push_back(a.character);
        break;
      case ErrorArg::Kind::integer:
        store.push_back(a.integer);
        break;
      case ErrorArg::Kind::natural:
        store.push_back(a.natural);
        break;
      case ErrorArg::Kind::real:
        store.push_back(a.real);
        break;
      case ErrorArg::Kind::text:
        store.push_back(std::string(static_cast<const char*>(a.pointer), a.size));
        break;
      case ErrorArg::Kind::object:
        store.push_back(a.str(a.pointer));
        break;
    }
  }
  std::string message(text);
  try {
    message = fmt::vformat(fmt::string_view(text.data(), text.size()), store);
  } catch (const std::exception&) {  // a text that does not fit its arguments is better than none
  }
  throw Error("[" + std::string(op) + "] " + message);
}

}  // namespace atlas::inline ATLAS_ABI
