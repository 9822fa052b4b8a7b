// Files of a known name in a folder that people unpacked in their own way.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::data {

/// The folder that holds one of the files `names`: `folder` itself, or the nearest one below it (at most three deep).
/// @return the folder, or "" when there is none
/// @throws Error when several folders are equally near: which data set is meant nobody can tell.
inline std::string folder_with(const std::string& folder, const std::vector<std::string>& names,
                               const std::string& op) {
  namespace fs = std::filesystem;
  std::vector<fs::path> level{folder};
  for (int depth = 0; depth <= 3 && !level.empty(); ++depth) {
    std::vector<fs::path> found, below;
    for (const fs::path& place : level) {
      std::error_code ignored;
      if (std::any_of(names.begin(), names.end(), [&](const auto& n) { return fs::exists(place / n, ignored); }))
        found.push_back(place);
      for (auto it = fs::directory_iterator(place, ignored); it != fs::directory_iterator(); it.increment(ignored))
        if (it->is_directory(ignored) && !it->path().filename().string().starts_with('.')) below.push_back(it->path());
    }
    std::sort(found.begin(), found.end());
    check(found.size() <= 1, op, "{} holds several: which is meant, {} or {}?", folder,
          found.empty() ? "" : found[0].string(), found.size() > 1 ? found[1].string() : "");
    if (!found.empty()) return found[0].string();
    level = std::move(below);
  }
  return "";
}

/// Ends the search for the files of a data set: names all that are missing, and where they were looked for.
/// @param hint  what else they may be called, and what brings them
[[noreturn]] inline void fail_missing(const std::string& op, const std::string& folder,
                                      const std::vector<std::string>& missing, const std::string& hint) {
  std::error_code ignored;
  check(std::filesystem::is_directory(folder, ignored), op, "there is no folder {} ({})", folder, hint);
  std::string names;
  for (size_t i = 0; i < missing.size(); ++i)
    names += (i == 0 ? "" : i + 1 == missing.size() ? " and " : ", ") + missing[i];
  fail(op, "{} lacks {} (looked for in it and in folders below it, at most three deep; {})", folder, names, hint);
}

}  // namespace atlas::inline ATLAS_ABI::data
