// JsonReader: goes through JSON text once, from front to back, and keeps nothing: for files too large to hold as a
// tree. Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::io {

/// Values are asked for in the order of the text; what nobody wants is skip()ped. Escapes in strings are decoded.
///
///     JsonReader json(text, "data.json");
///     json.object([&](std::string_view key) { key == "id" ? id = json.integer() : json.skip(); });
class JsonReader {
 public:
  enum class Kind : uint8_t { object, array, string, number, boolean, null };

  /// @param text  stays where it is while the reader lives   @param name  of the file, for messages
  JsonReader(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  /// What comes next. @throws Error at the end of the text, and for a character no value starts with.
  Kind peek();
  /// Calls f(key) for each member, which must take or skip its value.
  template <class F>
  void object(const F& f) {
    enter('{', "an object");
    if (closes('}')) return;
    do {
      const std::string key = string();
      expect(':');
      f(std::string_view(key));
    } while (more('}'));
  }
  /// Calls f() for each element, which must take or skip it.
  template <class F>
  void array(const F& f) {
    enter('[', "an array");
    if (closes(']')) return;
    do f();
    while (more(']'));
  }
  double number();
  /// A number without a fraction. @throws Error for another, and for one beyond 64 bits.
  int64_t integer();
  bool boolean();
  std::string string();
  /// Passes over a value, whatever it holds, and gives its text; brackets and strings in it are whole.
  std::string_view skip();
  /// Nothing but blanks is left. @throws Error otherwise.
  void finish();
  /// Bytes behind.
  size_t position() const { return at_; }
  /// @throws Error "[json] NAME, byte N: what".
  [[noreturn]] void bad(const std::string& what) const { bad_at(at_, what); }

 private:
  [[noreturn]] void bad_at(size_t at, const std::string& what) const;
  void blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }
  void enter(char bracket, const char* what);
  bool closes(char bracket);
  bool more(char bracket);
  void expect(char c);
  void word(std::string_view word);
  void pass_string();
  void pass_brackets(size_t begin);

  std::string_view text_, name_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace atlas::inline ATLAS_ABI::io

#ifndef ATLAS_COMPILED_LIB
#include "atlas/io/json_reader-inl.h"
#endif
