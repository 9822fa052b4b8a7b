// Bodies of nearest.h.
#pragma once

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/core/config.h"
#include "atlas/core/nearest.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before, above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1] ? 1u : 0u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(above, row);
  }
  return above[b.size()];
}

ATLAS_INLINE std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& known) {
  std::vector<std::pair<size_t, std::string>> found;
  for (const std::string& k : known) {
    const size_t distance = edit_distance(name, k);
    const bool starts = name.size() >= 2 && k.size() >= 2 && (k.starts_with(name) || name.starts_with(k));
    if (distance <= std::max<size_t>(1, std::max(name.size(), k.size()) / 3) || starts) found.emplace_back(distance, k);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> nearest;
  for (size_t i = 0; i < std::min<size_t>(3, found.size()); ++i) nearest.push_back(found[i].second);
  return nearest;
}

ATLAS_INLINE std::string did_you_mean(std::string_view name, const std::vector<std::string>& known,
                                      std::string_view prefix) {
  std::string text;
  const std::vector<std::string> nearest = nearest_names(name, known);
  for (size_t i = 0; i < nearest.size(); ++i)
    text.append(i == 0 ? "; did you mean " : " or ").append(prefix).append(nearest[i]);
  return nearest.empty() ? text : text + "?";
}

ATLAS_INLINE std::string known_names(std::string_view name, const std::vector<std::string>& known) {
  std::string text = known.empty() ? "there are none" : "there are ";
  for (size_t i = 0; i < known.size(); ++i) text += (i > 0 ? ", " : "") + known[i];
  return text + did_you_mean(name, known);
}

}  // namespace atlas::inline ATLAS_ABI
