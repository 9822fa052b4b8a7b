// Bodies of metrics.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"
#include "atlas/tasks/metrics.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/print.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::tasks {

ATLAS_INLINE void RunningMean::add(double value, double weight) {
  sum_ += value * weight;
  weight_ += weight;
}

namespace detail {
/// Calls f(b, true class, row of `classes` logits) for every row of a batch. Soft targets stand for their largest
/// class.
template <class F>
void for_each_row(std::string_view op, const Tensor& logits, const Tensor& target, const F& f) {
  check(logits.defined() && logits.dim() == 2 && logits.size(1) > 0, op,
        "needs logits of shape [batch, classes], got {}", describe(logits));
  const int64_t rows = logits.size(0), classes = logits.size(1);
  check(target.defined() && target.dim() >= 1 && target.size(0) == rows &&
            ((target.dtype() == int64 && target.dim() == 1) ||
             (is_floating(target.dtype()) && target.dim() == 2 && target.size(1) == classes)),
        op, "needs targets int64[{}] or soft ones [{},{}], got {}", rows, rows, classes, describe(target));
  // Float64 holds every class number and every float exactly.
  Tensor x = empty(logits.shape(), float64, Device{}), t = empty(target.shape(), float64, Device{});
  copy_elements(x, logits);
  copy_elements(t, target);
  for (int64_t b = 0; b < rows; ++b) {
    int64_t label = 0;
    if (target.dim() == 2) {
      const double* row = t.data<double>() + b * classes;
      label = std::max_element(row, row + classes) - row;
    } else {
      label = static_cast<int64_t>(t.data<double>()[b]);
      check(label >= 0 && label < classes, op, "target {} is {}, outside the {} classes", b, label, classes);
    }
    f(b, label, x.data<double>() + b * classes);
  }
}

ATLAS_INLINE int text_width(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

ATLAS_INLINE std::string shortened(const std::string& text, int width) {
  if (text_width(text) <= width) return text;
  size_t bytes = 0;
  for (int seen = 0; bytes < text.size(); ++bytes)
    if ((text[bytes] & 0xC0) != 0x80 && seen++ == width - 2) break;
  return text.substr(0, bytes) + "..";
}

}  // namespace detail

ATLAS_INLINE void Accuracy::add(const Tensor& logits, const Tensor& target) {
  detail::for_each_row("accuracy", logits, target, [&](int64_t, int64_t label, const double* row) {
    // Rank of the true class; among equals the lower class number comes first. A NaN is never right.
    int64_t before = 0;
    for (int64_t c = 0; c < logits.size(1); ++c)
      before += row[c] > row[label] || (row[c] == row[label] && c < label) ? 1 : 0;
    const bool number = row[label] == row[label];
    top1_ += number && before == 0 ? 1 : 0;
    top5_ += number && before < 5 ? 1 : 0;
    ++count_;
  });
}

ATLAS_INLINE ConfusionMatrix::ConfusionMatrix(int64_t classes) : classes_(classes) {
  check(classes > 0, "confusion matrix", "needs at least one class, got {}", classes);
  counts_.resize(static_cast<size_t>(classes * classes));
}

ATLAS_INLINE void ConfusionMatrix::add(const Tensor& logits, const Tensor& target) {
  detail::for_each_row("confusion matrix", logits, target, [&](int64_t, int64_t label, const double* row) {
    add(label, std::max_element(row, row + logits.size(1)) - row);
  });
}

ATLAS_INLINE void ConfusionMatrix::add(int64_t truth, int64_t predicted, int64_t images) {
  check(truth >= 0 && truth < classes_ && predicted >= 0 && predicted < classes_, "confusion matrix",
        "true class {} and predicted class {} must be below {}", truth, predicted, classes_);
  counts_[static_cast<size_t>(truth * classes_ + predicted)] += images;
}

ATLAS_INLINE void ConfusionMatrix::merge(const ConfusionMatrix& other) {
  check(other.classes_ == classes_, "confusion matrix", "of {} classes cannot take up one of {}", classes_,
        other.classes_);
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

ATLAS_INLINE int64_t ConfusionMatrix::at(int64_t truth, int64_t predicted) const {
  return counts_[static_cast<size_t>(truth * classes_ + predicted)];
}

ATLAS_INLINE int64_t ConfusionMatrix::images(int64_t truth) const {
  int64_t n = 0;
  for (int64_t p = 0; p < classes_; ++p) n += at(truth, p);
  return n;
}

ATLAS_INLINE double ConfusionMatrix::accuracy() const {
  int64_t right = 0;
  for (int64_t c = 0; c < classes_; ++c) right += at(c, c);
  return ratio(right, std::accumulate(counts_.begin(), counts_.end(), int64_t{0}));
}

ATLAS_INLINE std::string ConfusionMatrix::class_table(const std::vector<std::string>& names, int64_t max_rows) const {
  std::vector<int64_t> order(static_cast<size_t>(classes_));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (classes_ > max_rows) {
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return class_accuracy(a) < class_accuracy(b); });
    order.resize(static_cast<size_t>(std::max<int64_t>(max_rows, 0)));
  }
  const int width = name_width(names, 24);
  std::string text = fmt::format("{:<{}}  {:>7}  {:>8}  most often taken for\n", "class", width, "images", "accuracy");
  for (int64_t c : order) {
    int64_t worst = -1;
    for (int64_t p = 0; p < classes_; ++p)
      if (p != c && at(c, p) > 0 && (worst < 0 || at(c, p) > at(c, worst))) worst = p;
    text += fmt::format("{:<{}}  {:>7}  {:>6.1f} %  ", detail::shortened(name_of(names, c), width), width, images(c),
                        100 * class_accuracy(c));
    text += (worst < 0 ? "-" : fmt::format("{} ({})", name_of(names, worst), at(c, worst))) + "\n";
  }
  if (classes_ > max_rows) text += fmt::format("(the {} worst of {} classes)\n", order.size(), classes_);
  const int64_t total = std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
  return text + fmt::format("{:<{}}  {:>7}  {:>6.1f} %\n", "all", width, total, 100 * accuracy());
}

ATLAS_INLINE std::string ConfusionMatrix::matrix_table(const std::vector<std::string>& names) const {
  const int width = name_width(names, 16) + 4;
  const int64_t largest = std::max(*std::max_element(counts_.begin(), counts_.end()), classes_);
  const int cell = static_cast<int>(std::to_string(largest).size()) + 1;
  std::string text = fmt::format("{:<{}}", "true \\ predicted", std::max(width, 16));
  for (int64_t p = 0; p < classes_; ++p) text += fmt::format("{:>{}}", p, cell);
  text += "\n";
  for (int64_t t = 0; t < classes_; ++t) {
    const std::string label = fmt::format("{:>3} {}", t, detail::shortened(name_of(names, t), width - 4));
    text += fmt::format("{:<{}}", label, std::max(width, 16));
    for (int64_t p = 0; p < classes_; ++p)
      text += at(t, p) == 0 ? fmt::format("{:>{}}", ".", cell) : fmt::format("{:>{}}", at(t, p), cell);
    text += "\n";
  }
  return text;
}

ATLAS_INLINE std::string ConfusionMatrix::to_csv(const std::vector<std::string>& names) const {
  const auto quoted = [&](int64_t c) {
    std::string s = name_of(names, c);
    for (size_t i = s.find('"'); i != std::string::npos; i = s.find('"', i + 2)) s.insert(i, "\"");
    return s.find_first_of(",\"\n") == std::string::npos ? s : "\"" + s + "\"";
  };
  std::string text = "true\\predicted";
  for (int64_t p = 0; p < classes_; ++p) text += "," + quoted(p);
  text += "\n";
  for (int64_t t = 0; t < classes_; ++t) {
    text += quoted(t);
    for (int64_t p = 0; p < classes_; ++p) text += fmt::format(",{}", at(t, p));
    text += "\n";
  }
  return text;
}

ATLAS_INLINE std::string ConfusionMatrix::name_of(const std::vector<std::string>& names, int64_t c) {
  return c < static_cast<int64_t>(names.size()) ? names[static_cast<size_t>(c)] : fmt::format("class {}", c);
}

ATLAS_INLINE int ConfusionMatrix::name_width(const std::vector<std::string>& names, int most) const {
  int width = 5;
  for (int64_t c = 0; c < classes_; ++c) width = std::max(width, detail::text_width(name_of(names, c)));
  return std::min(width, most);
}

}  // namespace atlas::inline ATLAS_ABI::tasks
