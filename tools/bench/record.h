// Writes results into a Markdown file: sections between markers, of which everything else in the file is left alone.
#pragma once

#include <fmt/core.h>

#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>

#include "atlas/core/error.h"
#include "cases.h"

namespace bench {

namespace detail {

inline std::string read_text(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline std::string begin_mark(const std::string& key) {
  return "<!-- bench:" + key + " begin, tools/bench/run.sh -->\n";
}
inline std::string end_mark(const std::string& key) { return "<!-- bench:" + key + " end -->\n"; }

}  // namespace detail

/// The text between the markers of `key`, "" when the file or the section is not there.
inline std::string read_section(const std::string& path, const std::string& key) {
  const std::string text = detail::read_text(path), first = detail::begin_mark(key);
  const size_t begin = text.find(first), end = text.find(detail::end_mark(key));
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "";
  return text.substr(begin + first.size(), end - begin - first.size());
}

/// Replaces the section, or adds it at the end of the file.
/// @throws Error when the file cannot be written
inline void write_section(const std::string& path, const std::string& key, const std::string& content) {
  std::string text = detail::read_text(path);
  const std::string first = detail::begin_mark(key), last = detail::end_mark(key);
  const size_t begin = text.find(first), end = text.find(last);
  const std::string section = first + content + last;
  if (begin != std::string::npos && end != std::string::npos && begin < end)
    text.replace(begin, end + last.size() - begin, section);
  else
    text += (text.empty() ? "" : "\n") + section;
  std::ofstream out(path);
  out << text;
  out.flush();
  atlas::check(out.good(), "bench", "cannot write {}", path);
}

/// Puts one row into the table of section `key`: it replaces the row of the same case, others stay, in the order of
/// cases(). Rows that another machine wrote are dropped, because one table is one machine's.
/// @param machine  the line that describes the machine
/// @param header   the rest of the text above the rows, with the table's head
/// @param row      "| ... (`name`) | ... |" and a line break
inline void write_row(const std::string& path, const std::string& key, const std::string& machine,
                      const std::string& header, const std::string& name, const std::string& row) {
  const std::string before = read_section(path, key);
  std::map<std::string, std::string> rows;
  if (before.find(machine + '\n') != std::string::npos) {
    std::istringstream lines(before);
    for (std::string line; std::getline(lines, line);)
      for (const Case& c : cases())
        if (line.starts_with("| ") && line.find("(`" + c.name + "`)") != std::string::npos) rows[c.name] = line + '\n';
  } else if (!before.empty()) {
    fmt::print(stderr, "bench: the rows that {} holds are of another machine and go\n", path);
  }
  rows[name] = row;
  std::string content = machine + "\n" + header;
  for (const Case& c : cases())
    if (const auto it = rows.find(c.name); it != rows.end()) content += it->second;
  write_section(path, key, content);
}

}  // namespace bench
