// Fields of a configuration: listed once, and everything that is done with them follows from the list.
//
// A configuration is a plain struct that lists its members:
//
//     struct MyConfig {
//       int64_t dim = 64;
//       double drop_path_rate = 0;
//
//       template <class Self, class Visitor>  // Self may be const
//       static void fields(Self& c, Visitor&& visit) {
//         visit("dim", c.dim, "channels of a token", at_least(1));
//         visit("drop_path_rate", c.drop_path_rate, "of the last block", within(0, 1));
//       }
//     };
//
// Members are int64_t, double, bool, std::string, std::optional<double>, std::vector<int64_t>, std::vector<double>
// or std::array<int64_t, N>. From the list come the JSON text (config_to_json), the reading of JSON and of command
// lines (registry.h), the text of
// --help, and the checks of ranges (check_ranges).
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

namespace atlas::inline ATLAS_ABI::models {

/// The values that a field may have; of a list, each of its elements. Without limits: every value.
struct Range {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool least_itself = true, most_itself = true;  ///< whether the limits belong to the range
  std::vector<int64_t> choices = {};             ///< the only values, when there are any

  /// False for NaN.
  bool holds(double v) const;
  bool everything() const { return choices.empty() && least == -most && most == Range().most; }
  /// What comes after "must": "be at least 1", "not be negative", "be in [0, 1)", "be 4, 8 or 16".
  std::string str() const;
};
inline Range any_value() { return {}; }
inline Range at_least(double least) { return {.least = least}; }
inline Range positive() { return {.least = 0, .least_itself = false}; }
/// From `least` to `most`, both included.
inline Range between(double least, double most) { return {.least = least, .most = most}; }
/// From `least`, included, to `most`, excluded: a rate.
inline Range within(double least, double most) { return {.least = least, .most = most, .most_itself = false}; }
/// Blocks of a stage, or layers of a head.
inline Range few() { return between(0, 1000); }
/// Channels and other lengths, from `least` on: such that products of a few of them are numbers.
inline Range length(double least = 1) { return between(least, 1 << 20); }
/// Hidden features per channel.
inline Range factor() { return {.least = 0, .most = 1000, .least_itself = false}; }
/// Numbers of classes.
inline Range class_count() { return between(1, 1 << 30); }
inline Range one_of(std::initializer_list<int64_t> choices) { return {.choices = choices}; }

namespace detail {

/// A member as JSON.
inline std::string json_text(int64_t v) { return fmt::format("{}", v); }
inline std::string json_text(double v) { return fmt::format("{}", v); }
inline std::string json_text(bool v) { return v ? "true" : "false"; }
inline std::string json_text(const std::optional<double>& v) { return v ? json_text(*v) : "null"; }
std::string json_text(const std::string& v);
/// "[1, 2, 3]"
template <class List>
requires(std::same_as<typename List::value_type, int64_t> ||
         std::same_as<typename List::value_type, double>) std::string json_text(const List& values) {
  std::string text = "[";
  for (const auto v : values) text += fmt::format("{}{}", text.size() > 1 ? ", " : "", v);
  return text + "]";
}

inline bool in_range(int64_t v, const Range& r) { return r.holds(static_cast<double>(v)); }
inline bool in_range(double v, const Range& r) { return r.holds(v); }
inline bool in_range(bool, const Range&) { return true; }
inline bool in_range(const std::string&, const Range&) { return true; }
inline bool in_range(const std::optional<double>& v, const Range& r) { return !v || r.holds(*v); }
template <class List>
requires(std::same_as<typename List::value_type, int64_t> ||
         std::same_as<typename List::value_type, double>) bool in_range(const List& values, const Range& r) {
  return std::all_of(values.begin(), values.end(), [&](auto v) { return in_range(v, r); });
}

}  // namespace detail

/// Calls visit(name, member, help, range) for every field of a configuration, in order.
template <class Config, class Visitor>
void for_each_field(Config& c, Visitor&& visit) {
  std::remove_const_t<Config>::fields(c, visit);
}

/// The configuration as a JSON object, in the order of its fields.
template <class Config>
std::string config_to_json(const Config& c) {
  std::string text = "{";
  for_each_field(c, [&](const char* name, const auto& field, const char*, const Range&) {
    text += fmt::format("{}\"{}\": {}", text.size() > 1 ? ", " : "", name, detail::json_text(field));
  });
  return text + "}";
}

/// @param title  what the model is called in messages
/// @throws Error naming the first field that is out of range.
template <class Config>
void check_ranges(const Config& c, std::string_view title) {
  for_each_field(c, [&](const char* name, const auto& field, const char*, const Range& range) {
    check(range.everything() || detail::in_range(field, range), title, "{} must {}, got {}", name, range.str(),
          detail::json_text(field));
  });
}

/// What is checked of a configuration before a model is built. One whose fields must also go together has its own.
/// @throws Error naming the first field that is out of range.
template <class Config>
void validate(const Config& c) {
  check_ranges(c, Config::kTitle);
}

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/fields-inl.h"
#endif
