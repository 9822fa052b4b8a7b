// Text files: lists of names and settings that people write with any editor.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/data/file.h"

namespace atlas::inline ATLAS_ABI::data {

/// Text without what some editors put in front of UTF-8: the byte-order mark.
inline std::string_view without_mark(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return text;
}

/// @throws Error when a text is UTF-16, by its mark, or because every second byte of its first letters is 0.
inline void check_utf8(std::string_view text, std::string_view name) {
  const bool marked = text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF");
  const bool halves = text.size() >= 2 && (text[0] == 0) != (text[1] == 0);
  check(!marked && !halves, "read_text", "{}: is UTF-16 text, as its first two bytes say; save it as UTF-8", name);
}

/// A text file, whole, without byte-order mark.
/// @throws Error naming the file when it cannot be read, is longer than `limit`, or is UTF-16.
inline std::string read_text(const std::string& path, int64_t limit = int64_t{1} << 26) {
  const Bytes bytes = read_file(path, limit);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  check_utf8(text, path);
  return std::string(without_mark(text));
}

/// The lines of a text file, without their ends (LF or CR LF) and without empty ones at the end of the file.
/// @throws Error as read_text().
inline std::vector<std::string> read_lines(const std::string& path, int64_t limit = int64_t{1} << 26) {
  std::vector<std::string> lines{""};
  for (const char c : read_text(path, limit)) {
    if (c == '\n')
      lines.emplace_back();
    else if (c != '\r')
      lines.back() += c;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace atlas::inline ATLAS_ABI::data
