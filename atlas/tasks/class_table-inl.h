// Bodies of class_table.h.
#pragma once

#include <fmt/core.h>

#include <cmath>

#include "atlas/tasks/class_table.h"

namespace atlas::inline ATLAS_ABI::tasks {

namespace detail {

inline std::string percent_cell(double share) { return std::isnan(share) ? "-" : fmt::format("{:.1f} %", 100 * share); }

/// "dog (3.2 %)": the class that images or pixels of another are most often taken for, with their share.
inline std::string taken_for(const ConfusionMatrix& confusion, int64_t truth, const std::vector<std::string>& names) {
  int64_t worst = -1;
  for (int64_t p = 0; p < confusion.classes(); ++p)
    if (p != truth && confusion.at(truth, p) > 0 && (worst < 0 || confusion.at(truth, p) > confusion.at(truth, worst)))
      worst = p;
  if (worst < 0) return "-";
  return fmt::format(
      "{} ({:.1f} %)", names[static_cast<size_t>(worst)],
      100 * static_cast<double>(confusion.at(truth, worst)) / static_cast<double>(confusion.images(truth)));
}

}  // namespace detail

ATLAS_INLINE Table class_table(const ConfusionMatrix& confusion, const std::vector<std::string>& names) {
  Table table{{"class", "images", "accuracy", "most often taken for"}, {}};
  for (int64_t c = 0; c < confusion.classes(); ++c) {
    const int64_t images = confusion.images(c);
    table.rows.push_back({names[static_cast<size_t>(c)], std::to_string(images),
                          images == 0 ? "-" : detail::percent_cell(confusion.class_accuracy(c)),
                          detail::taken_for(confusion, c, names)});
  }
  return table;
}

ATLAS_INLINE Table class_table(const PixelConfusion& confusion, const std::vector<std::string>& names) {
  double all = 0;
  for (int64_t c = 0; c < confusion.classes(); ++c) all += static_cast<double>(confusion.counts().images(c));
  Table table{{"class", "pixels", "IoU", "accuracy", "most often taken for"}, {}};
  for (int64_t c = 0; c < confusion.classes(); ++c)
    table.rows.push_back({names[static_cast<size_t>(c)],
                          detail::percent_cell(static_cast<double>(confusion.counts().images(c)) / all),
                          detail::percent_cell(confusion.iou(c)), detail::percent_cell(confusion.accuracy(c)),
                          detail::taken_for(confusion.counts(), c, names)});
  return table;
}

}  // namespace atlas::inline ATLAS_ABI::tasks
