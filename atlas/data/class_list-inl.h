// Bodies of class_list.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "atlas/core/nearest.h"
#include "atlas/data/class_list.h"
#include "atlas/data/text.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE std::string ClassList::where(size_t i) const { return fmt::format("{} line {}", file, lines[i]); }

ATLAS_INLINE ClassList read_class_list(const std::string& path) {
  ClassList list{path, {}, {}, {}};
  std::map<std::string, int64_t> seen;  // the line of each
  int64_t number = 0;
  for (const std::string& line : read_lines(path)) {
    ++number;
    const size_t begin = line.find_first_not_of(" \t"), end = line.find_last_not_of(" \t");
    if (begin == line.npos) continue;
    std::string name = line.substr(begin, end - begin + 1);
    if (name[0] == '#') {
      list.comments.push_back(name);
      continue;
    }
    if (name.starts_with("\\#")) name.erase(0, 1);
    check(name.size() <= 255, "classes", "{} line {}: {} bytes are too many for the name of a folder", path, number,
          name.size());
    check(name.find_first_of(std::string("/\0", 2)) == name.npos && name != "." && name != "..", "classes",
          "{} line {}: '{}' is no name of a class folder", path, number, name);
    const auto [earlier, fresh] = seen.emplace(name, number);
    check(fresh, "classes", "{} line {}: {} stands in line {} already", path, number, name, earlier->second);
    list.names.push_back(name);
    list.lines.push_back(number);
  }
  check(!list.names.empty(), "classes", "{}: has no names (expected the name of a class folder a line)", path);
  return list;
}

ATLAS_INLINE void check_listed(const ClassList& list, const std::string& folder,
                               const std::vector<std::string>& there) {
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const std::string& comment : list.comments)
    check(!has(there, comment) || has(list.names, comment), "classes",
          "{}: {} is a comment, and {} has a folder of this name: write \\{} for the folder, or '# ' for a comment",
          list.file, comment, folder, comment);
  for (size_t i = 0; i < list.names.size(); ++i) {
    const std::string& name = list.names[i];
    if (has(there, name)) continue;
    fail("classes", "{}: {} has no folder {}{}", list.where(i), folder, name, did_you_mean(name, there));
  }
}

}  // namespace atlas::inline ATLAS_ABI::data
