// Body of xml_reader.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <system_error>
#include <utility>
#include <vector>

#include "atlas/io/utf8.h"
#include "atlas/io/xml_reader.h"

namespace atlas::inline ATLAS_ABI::io {

namespace detail {

class XmlReader {
 public:
  XmlReader(std::string_view text, const std::string& name, const XmlEvents& events)
      : text_(text), name_(name), events_(events) {}

  void run() {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
    need(is_utf8(text_), "the file is not UTF-8");
    bool root = false;
    while (at_ < text_.size()) {
      if (text_[at_] != '<') {
        characters(text_.find('<', at_));
      } else if (starts("<!--")) {
        past("-->", "a comment");
      } else if (starts("<![CDATA[")) {
        need(!open_.empty(), "text outside the outermost element");
        const size_t begin = at_ + 9;
        past("]]>", "a CDATA section");
        open_.back().text += text_.substr(begin, at_ - 3 - begin);
      } else if (starts("<?")) {
        past("?>", "an instruction");
      } else if (starts("<!DOCTYPE")) {
        const size_t end = text_.find_first_of("[>", at_);
        need(end != text_.npos, "it ends within a document type");
        need(text_[end] == '>', "its document type declares something, which is not read");
        at_ = end + 1;
      } else if (starts("</")) {
        end_tag();
      } else {
        need(!open_.empty() || !root, "a second outermost element");
        root = true;
        start_tag();
      }
    }
    need(open_.empty(), "it ends within <{}>", open_.empty() ? "" : name_of(open_.back()));
    need(root, "it holds no element");
  }

 private:
  struct Element {
    size_t path_length;  // of the path up to it, without it
    std::string text;
  };
  static constexpr size_t kDepth = 32, kPath = 4096;

  template <class... A>
  void need(bool ok, fmt::format_string<A...> what, A&&... args) const {
    if (!ok) fail("xml", "{}, byte {}: {}", name_, at_, fmt::format(what, std::forward<A>(args)...));
  }
  bool starts(std::string_view with) const { return text_.substr(at_).starts_with(with); }
  void past(std::string_view end, const char* what) {
    const size_t found = text_.find(end, at_);
    need(found != text_.npos, "it ends within {}", what);
    at_ = found + end.size();
  }
  static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  void skip_blanks() {
    while (at_ < text_.size() && blank(text_[at_])) ++at_;
  }
  std::string_view name() {
    const size_t begin = at_;
    while (at_ < text_.size() && !blank(text_[at_]) && std::string_view("<>/=\"'&").find(text_[at_]) == text_.npos)
      ++at_;
    need(at_ > begin, "a name is missing");
    return text_.substr(begin, at_ - begin);
  }
  std::string_view name_of(const Element& e) const {
    return std::string_view(path_).substr(e.path_length > 0 ? e.path_length + 1 : 0);
  }

  void start_tag() {
    ++at_;
    const std::string_view tag = name();
    need(open_.size() < kDepth && path_.size() + tag.size() < kPath, "elements more than {} deep", kDepth);
    open_.push_back({path_.size(), {}});
    if (!path_.empty()) path_ += '/';
    path_ += tag;
    events_.open(path_);
    for (;;) {  // attributes
      skip_blanks();
      need(at_ < text_.size(), "it ends within a tag");
      if (text_[at_] == '>') {
        ++at_;
        return;
      }
      if (starts("/>")) {
        at_ += 2;
        return close();
      }
      name();
      skip_blanks();
      need(starts("="), "an attribute without a value");
      ++at_;
      skip_blanks();
      need(starts("\"") || starts("'"), "an attribute whose value is not quoted");
      const size_t end = text_.find(text_[at_], at_ + 1);
      need(end != text_.npos, "it ends within an attribute");
      at_ = end + 1;
    }
  }
  void end_tag() {
    at_ += 2;
    const std::string_view tag = name();
    need(!open_.empty(), "</{}> without its begin", tag);
    need(tag == name_of(open_.back()), "</{}> where <{}> is open", tag, name_of(open_.back()));
    skip_blanks();
    need(starts(">"), "it ends within a tag");
    ++at_;
    close();
  }
  void close() {
    std::string_view text = open_.back().text;
    while (!text.empty() && blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && blank(text.back())) text.remove_suffix(1);
    events_.close(path_, text);
    path_.resize(open_.back().path_length);
    open_.pop_back();
  }
  void characters(size_t end) {
    end = std::min(end, text_.size());
    for (; at_ < end; ++at_) {
      const char c = text_[at_];
      need(!open_.empty() || blank(c), "text outside the outermost element");
      if (c == '&')
        entity();
      else if (!open_.empty())
        open_.back().text += c;
    }
  }
  /// At an ampersand; ends on the semicolon.
  void entity() {
    const size_t end = text_.find(';', at_);
    need(end != text_.npos && end - at_ <= 12, "an ampersand that begins no entity (write &amp;)");
    const std::string_view what = text_.substr(at_ + 1, end - at_ - 1);
    std::string& to = open_.back().text;
    if (what.starts_with('#')) {
      const bool hex = what.starts_with("#x");
      const std::string_view digits = what.substr(hex ? 2 : 1);
      uint32_t code = 0;
      const auto [last, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), code, hex ? 16 : 10);
      need(bad == std::errc{} && last == digits.data() + digits.size() && code > 0 && code < 0x110000 &&
               (code < 0xD800 || code > 0xDFFF),
           "'&{};' is no character", what);
      append_utf8(to, code);
    } else {
      constexpr std::pair<std::string_view, char> kKnown[] = {
          {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
      bool known = false;
      for (const auto& [entity, c] : kKnown)
        if (what == entity) to += c, known = true;
      need(known, "the entity '&{};' is unknown", escaped(what));
    }
    at_ = end;
  }
  static void append_utf8(std::string& to, uint32_t code) {
    const auto byte = [&](uint32_t v) { to += static_cast<char>(v); };
    if (code < 0x80) return byte(code);
    if (code < 0x800) {
      byte(0xC0 | code >> 6);
    } else if (code < 0x10000) {
      byte(0xE0 | code >> 12);
      byte(0x80 | (code >> 6 & 0x3F));
    } else {
      byte(0xF0 | code >> 18);
      byte(0x80 | (code >> 12 & 0x3F));
      byte(0x80 | (code >> 6 & 0x3F));
    }
    byte(0x80 | (code & 0x3F));
  }

  std::string_view text_;
  const std::string& name_;
  const XmlEvents& events_;
  size_t at_ = 0;
  std::string path_;
  std::vector<Element> open_;
};

}  // namespace detail

ATLAS_INLINE void read_xml(std::string_view text, const std::string& name, const XmlEvents& events) {
  detail::XmlReader(text, name, events).run();
}

}  // namespace atlas::inline ATLAS_ABI::io
