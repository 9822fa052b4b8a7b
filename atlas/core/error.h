// The one exception type of the library, and the two ways to raise it.
//
// Every op checks its operands, so a check must be cheap to compile as well as to run: its arguments are packed into
// plain values here, and the text is made in error-inl.h. With ATLAS_CHECK_FORMATS the compiler holds every text
// against its arguments; a test of the whole tree (frame.headers) is compiled with it.
#pragma once

#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#ifdef ATLAS_CHECK_FORMATS
#include <fmt/core.h>
#endif

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// Every error the library raises. what() reads "[op] requirement, operands, hint".
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

/// A type that says itself in text when it is asked: Shape, Description, ...
template <class T>
concept HasText = requires(const T& t) {
  { t.str() } -> std::convertible_to<std::string>;
};

/// One argument of an error's text: a number, a string, or a reference to something with str().
struct ErrorArg {
  enum class Kind : unsigned char { boolean, character, integer, natural, real, text, object };
  Kind kind;
  union {
    bool boolean;
    char character;
    int64_t integer;
    uint64_t natural;
    double real;
    const void* pointer;  // to characters, or to the object
  };
  size_t size = 0;                            // of a text
  std::string (*str)(const void*) = nullptr;  // of an object

  template <std::same_as<bool> T>  // no pointer becomes one
  ErrorArg(T v) : kind(Kind::boolean), boolean(v) {}
  template <std::same_as<char> T>
  ErrorArg(T v) : kind(Kind::character), character(v) {}
  template <std::signed_integral T>
  requires(!std::same_as<T, char>) ErrorArg(T v) : kind(Kind::integer), integer(v) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool> && !std::same_as<T, char>) ErrorArg(T v) : kind(Kind::natural), natural(v) {}
  template <std::floating_point T>
  ErrorArg(T v) : kind(Kind::real), real(static_cast<double>(v)) {}
  template <class T>
  requires std::convertible_to<const T&, std::string_view> ErrorArg(const T& v) : kind(Kind::text) {
    const std::string_view view = v;
    pointer = view.data();
    size = view.size();
  }
  template <HasText T>
  ErrorArg(const T& v)
      : kind(Kind::object),
        pointer(&v),
        str([](const void* p) -> std::string { return static_cast<const T*>(p)->str(); }) {}
};

/// Throws Error with the text "[op] text", whose {} stand for `args`.
[[noreturn]] void fail_with(std::string_view op, std::string_view text, const ErrorArg* args, size_t count);

#ifdef ATLAS_CHECK_FORMATS
template <class... Args>
using ErrorText = fmt::format_string<Args...>;
inline std::string_view plain(fmt::string_view text) { return {text.data(), text.size()}; }
#else
template <class...>
using ErrorText = std::string_view;
inline std::string_view plain(std::string_view text) { return text; }
#endif

}  // namespace detail

/// Throws Error with the text "[op] message". The message is `text` with its {} replaced, as fmt does it.
/// @param args  numbers, strings, and what has str() (shapes, describe(tensor))
template <class... Args>
[[noreturn]] void fail(std::string_view op, detail::ErrorText<const std::type_identity_t<Args>&...> text,
                       const Args&... args) {
  if constexpr (sizeof...(Args) == 0) {
    detail::fail_with(op, detail::plain(text), nullptr, 0);
  } else {
    const detail::ErrorArg list[] = {detail::ErrorArg(args)...};
    detail::fail_with(op, detail::plain(text), list, sizeof...(Args));
  }
}

/// Throws Error("[op] message") unless `ok`; the message is made only then.
template <class... Args>
void check(bool ok, std::string_view op, detail::ErrorText<const std::type_identity_t<Args>&...> text,
           const Args&... args) {
  if (!ok) [[unlikely]]
    fail(op, text, args...);
}

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/core/error-inl.h"
#endif
