// JsonFields: the fields of a flat JSON object, taken one by one into the members of a configuration.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/core/error.h"
#include "atlas/core/nearest.h"

namespace atlas::inline ATLAS_ABI::io {

/// What a JSON parser's exception says, without the code in brackets in front.
inline std::string_view json_reason(std::string_view what) {
  const size_t end = what.find("] ");
  return what.starts_with('[') && end != what.npos ? what.substr(end + 2) : what;
}

/// The whole number that a JSON value is: none for fractions, other kinds, and numbers beyond 64 bits, which must not
/// turn into negative ones.
template <class Json>
std::optional<int64_t> whole_number_in(const Json& j) {
  if (!j.is_number_integer()) return std::nullopt;
  if (j.is_number_unsigned() && j.template get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return std::nullopt;
  return j.template get<int64_t>();
}

/// Whether a JSON number, or one in a list, lies beyond the whole numbers of 64 bits.
template <class Json>
bool is_too_large(const Json& j) {
  if (j.is_array()) return std::any_of(j.begin(), j.end(), [](const Json& one) { return is_too_large(one); });
  return j.is_number() && !whole_number_in(j) && std::abs(j.template get<double>()) >= 0x1p63;
}
inline constexpr const char* kTooLarge = "too large: whole numbers lie between -2^63 and 2^63 - 1";

/// The strings of a JSON list. @param what  what is read, for messages   @throws Error when it is no list of strings.
std::vector<std::string> json_strings(const std::string& text, const std::string& what);

/// Reads a JSON object whose values are numbers, true or false, strings, null, or lists of whole numbers. A field that
/// is absent leaves the member as it is; a field that nobody asked for is an error of finish().
///
/// Example: `JsonFields f(text, "AtlasNet"); f.read("dim", c.dim); f.read("depths", c.depths); f.finish();`
class JsonFields {
 public:
  /// @param what  whose fields they are, for error messages
  /// @throws Error when `text` is no JSON object, or names a field twice.
  JsonFields(const std::string& text, std::string what);

  /// Takes a field into a member. @throws Error when its value is of another kind.
  void read(const char* name, int64_t& to) {
    if (const Value* v = take(name); v != nullptr) {
      expect_whole(v->integer.has_value(), name, "a whole number", *v);
      to = *v->integer;
    }
  }
  void read(const char* name, double& to) {
    if (const Value* v = take(name); v != nullptr) {
      expect(v->number.has_value(), name, "a number", *v);
      to = *v->number;
    }
  }
  void read(const char* name, bool& to) {
    if (const Value* v = take(name); v != nullptr) {
      expect(v->text == "true" || v->text == "false", name, "true or false", *v);
      to = v->text == "true";
    }
  }
  void read(const char* name, std::string& to) {
    if (const Value* v = take(name); v != nullptr) {
      expect(v->string.has_value(), name, "a string", *v);
      to = *v->string;
    }
  }
  void read(const char* name, std::optional<double>& to) {
    if (const Value* v = take(name); v != nullptr) {
      expect(v->number.has_value() || v->text == "null", name, "a number or null", *v);
      to = v->number;
    }
  }
  void read(const char* name, std::vector<int64_t>& to) {
    if (const Value* v = take(name); v != nullptr) {
      expect_whole(v->list.has_value(), name, "a list of whole numbers", *v);
      to = *v->list;
    }
  }
  void read(const char* name, std::vector<double>& to) {
    if (const Value* v = take(name); v != nullptr) {
      expect(v->numbers.has_value(), name, "a list of numbers", *v);
      to = *v->numbers;
    }
  }
  template <size_t N>
  void read(const char* name, std::array<int64_t, N>& to) {
    if (const Value* v = take(name); v != nullptr) {
      expect_whole(v->list.has_value() && v->list->size() == N, name, fmt::format("a list of {} whole numbers", N), *v);
      std::copy(v->list->begin(), v->list->end(), to.begin());
    }
  }
  /// @throws Error naming a field that was not read, those there are, and the nearest.
  void finish() const {
    for (const auto& [name, value] : values_)
      check(value.taken, "config", "'{}' is no field of {}; {}", name, what_, known_names(name, known_));
  }
  /// The names that the object has.
  std::set<std::string> names() const {
    std::set<std::string> all;
    for (const auto& [name, value] : values_) all.insert(name);
    return all;
  }
  /// The values as JSON, by name.
  std::map<std::string, std::string> texts() const {
    std::map<std::string, std::string> all;
    for (const auto& [name, value] : values_) all[name] = value.text;
    return all;
  }

 private:
  struct Value {
    std::string text;  // as JSON
    std::optional<int64_t> integer;
    std::optional<double> number;
    std::optional<std::vector<int64_t>> list;
    std::optional<std::vector<double>> numbers;
    std::optional<std::string> string;
    bool taken = false;
    bool too_large = false;  // for a whole number
  };
  const Value* take(const char* name) {
    known_.emplace_back(name);
    const auto it = values_.find(name);
    if (it == values_.end()) return nullptr;
    it->second.taken = true;
    return &it->second;
  }
  void expect(bool good, const char* name, const std::string& kind, const Value& v) const {
    check(good, "config", "'{}' of {} must be {}, got {}", name, what_, kind, v.text);
  }

  void expect_whole(bool good, const char* name, const std::string& kind, const Value& v) const {
    check(good || !v.too_large, "config", "'{}' of {}: {} is {}", name, what_, v.text, kTooLarge);
    expect(good, name, kind, v);
  }

  std::string what_;
  std::vector<std::string> known_;
  std::map<std::string, Value> values_;
};

}  // namespace atlas::inline ATLAS_ABI::io

#ifndef ATLAS_COMPILED_LIB
#include "atlas/io/json_fields-inl.h"
#endif
