// Bodies of json_reader.h.
#pragma once

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <cmath>

#include "atlas/io/json_reader.h"

namespace atlas::inline ATLAS_ABI::io {

ATLAS_INLINE void JsonReader::bad_at(size_t at, const std::string& what) const {
  fail("json", "{}, byte {}: {}", name_, at, what);
}

ATLAS_INLINE JsonReader::Kind JsonReader::peek() {
  blanks();
  if (at_ >= text_.size()) bad("the text ends where a value should be (is the file cut off?)");
  switch (text_[at_]) {
    case '{':
      return Kind::object;
    case '[':
      return Kind::array;
    case '"':
      return Kind::string;
    case 't':
    case 'f':
      return Kind::boolean;
    case 'n':
      return Kind::null;
    default:
      if (text_[at_] == '-' || (text_[at_] >= '0' && text_[at_] <= '9')) return Kind::number;
  }
  bad("no value starts with this character");
}

ATLAS_INLINE void JsonReader::enter(char bracket, const char* what) {
  peek();
  if (text_[at_] != bracket) bad(std::string("needs ") + what);
  constexpr int kDeepest = 100;
  if (++depth_ > kDeepest) bad("brackets are nested too deeply");
  ++at_;
}

ATLAS_INLINE bool JsonReader::closes(char bracket) {
  blanks();
  if (at_ >= text_.size() || text_[at_] != bracket) return false;
  ++at_, --depth_;
  return true;
}

ATLAS_INLINE bool JsonReader::more(char bracket) {
  if (closes(bracket)) return false;
  expect(',');
  return true;
}

ATLAS_INLINE void JsonReader::expect(char c) {
  blanks();
  if (at_ >= text_.size()) bad("the text ends in the middle (is the file cut off?)");
  if (text_[at_] != c) bad(fmt::format("needs '{}'", c));
  ++at_;
}

ATLAS_INLINE void JsonReader::word(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) bad("no value is written like this");
  at_ += word.size();
}

ATLAS_INLINE double JsonReader::number() {
  if (peek() != Kind::number) bad("needs a number");
  double value = 0;
  const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
  if (error != std::errc{} || !std::isfinite(value)) bad("is no number that fits");
  at_ = static_cast<size_t>(end - text_.data());
  return value;
}

ATLAS_INLINE int64_t JsonReader::integer() {
  const size_t begin = (peek(), at_);
  const double value = number();
  if (std::floor(value) != value) bad_at(begin, "needs a whole number");
  // Digits alone are exact; 1e3 is a whole number, too.
  const std::string_view text = text_.substr(begin, at_ - begin);
  int64_t exact = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exact);
  if (error == std::errc{} && end == text.data() + text.size()) return exact;
  if (error == std::errc::result_out_of_range || std::abs(value) > 0x1p53)
    bad_at(
        begin,
        fmt::format("{} is too {}: whole numbers lie between -2^63 and 2^63 - 1{}", text, value < 0 ? "small" : "large",
                    error == std::errc{} ? ", those with a point or an exponent between -2^53 and 2^53" : ""));
  return static_cast<int64_t>(value);
}

ATLAS_INLINE bool JsonReader::boolean() {
  if (peek() != Kind::boolean) bad("needs true or false");
  const bool value = text_[at_] == 't';
  word(value ? "true" : "false");
  return value;
}

ATLAS_INLINE void JsonReader::pass_string() {
  const size_t begin = at_;
  const char *const end = text_.data() + text_.size(), *p = text_.data() + at_ + 1;
  for (;; ++p) {
    while (p < end && *p != '"' && *p != '\\') ++p;
    if (p < end && *p == '\\') {
      if (++p < end) continue;
    }
    if (p >= end) bad_at(begin, "a string does not end (is the file cut off?)");
    at_ = static_cast<size_t>(p + 1 - text_.data());
    return;
  }
}

ATLAS_INLINE void JsonReader::pass_brackets(size_t begin) {
  // Most of a large file is lists of numbers: only these five characters matter.
  static const std::array<bool, 256> stops = [] {
    std::array<bool, 256> all{};
    for (const char c : {'"', '[', ']', '{', '}'}) all[static_cast<unsigned char>(c)] = true;
    return all;
  }();
  const char *const end = text_.data() + text_.size(), *p = text_.data() + at_;
  for (int64_t open = 0;;) {
    while (p < end && !stops[static_cast<unsigned char>(*p)]) ++p;
    if (p >= end) bad_at(begin, "what starts here does not end (is the file cut off?)");
    if (*p == '"') {
      at_ = static_cast<size_t>(p - text_.data());
      pass_string();
      p = text_.data() + at_;
      continue;
    }
    const bool opens = *p == '[' || *p == '{';
    ++p;
    open += opens ? 1 : -1;
    if (open == 0) break;
  }
  at_ = static_cast<size_t>(p - text_.data());
}

ATLAS_INLINE std::string JsonReader::string() {
  if (peek() != Kind::string) bad("needs a string");
  const size_t begin = at_ + 1;
  pass_string();
  const std::string_view raw = text_.substr(begin, at_ - 1 - begin);
  if (raw.find('\\') == raw.npos) return std::string(raw);
  std::string out;
  const auto unit = [&](size_t i) {  // four hexadecimal digits
    unsigned value = 0;
    const char* const first = raw.data() + i;
    if (i + 4 > raw.size() || std::from_chars(first, first + 4, value, 16).ptr != first + 4)
      bad_at(begin + i, "needs four hexadecimal digits");
    return value;
  };
  const auto put = [&](unsigned c) {  // as UTF-8
    const auto low = [&](unsigned bits) { out += static_cast<char>(0x80 | (bits & 63)); };
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | c >> 6), low(c);
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12), low(c >> 6), low(c);
    } else {
      out += static_cast<char>(0xF0 | c >> 18), low(c >> 12), low(c >> 6), low(c);
    }
  };
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      out += raw[i];
      continue;
    }
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    const char c = raw[++i];
    if (const size_t k = kNames.find(c); k != kNames.npos) {
      out += kMeant[k];
    } else if (c == 'u') {
      unsigned code = unit(i + 1);
      i += 4;
      if (code >= 0xD800 && code < 0xDC00 && raw.substr(i + 1, 2) == "\\u") {
        const unsigned second = unit(i + 3);
        if (second >= 0xDC00 && second < 0xE000) {
          code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00);
          i += 6;
        }
      }
      if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;  // half of a pair
      put(code);
    } else {
      bad_at(begin + i, "no escape is written like this");
    }
  }
  return out;
}

ATLAS_INLINE std::string_view JsonReader::skip() {
  const Kind kind = peek();
  const size_t begin = at_;
  switch (kind) {
    case Kind::string:
      pass_string();
      break;
    case Kind::number:
      while (at_ < text_.size() && std::string_view("+-.eE0123456789").find(text_[at_]) != std::string_view::npos)
        ++at_;
      break;
    case Kind::boolean:
      word(text_[at_] == 't' ? "true" : "false");
      break;
    case Kind::null:
      word("null");
      break;
    default:
      pass_brackets(begin);
  }
  return text_.substr(begin, at_ - begin);
}

ATLAS_INLINE void JsonReader::finish() {
  blanks();
  if (at_ < text_.size()) bad("something follows the end of the text");
}

}  // namespace atlas::inline ATLAS_ABI::io
