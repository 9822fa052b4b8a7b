// What a model is measured by: running means, top-1 and top-5 accuracy, the confusion matrix and tables made from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// A weighted mean that grows: mean = Σ w x / Σ w.
class RunningMean {
 public:
  /// @param weight  how many samples `value` is the mean of, >= 0
  void add(double value, double weight = 1);
  /// 0 when nothing was added.
  double mean() const { return weight_ > 0 ? sum_ / weight_ : 0; }
  double weight() const { return weight_; }
  void reset() { *this = RunningMean(); }

 private:
  double sum_ = 0, weight_ = 0;
};

namespace detail {
/// Code points of UTF-8 text, which is its width for the class names met here.
int text_width(std::string_view text);
/// The first `width` characters, with a mark where something was cut.
std::string shortened(const std::string& text, int width);
}  // namespace detail

/// Counts how often the true class is the largest, or among the five largest, of the logits.
class Accuracy {
 public:
  /// @param logits  [B, C], any float dtype   @param target  int64 [B] in [0, C), or soft targets [B, C]
  /// @throws Error for other shapes or a label outside the classes
  void add(const Tensor& logits, const Tensor& target);
  /// Shares in [0, 1]; 0 when nothing was added.
  double top1() const { return share(top1_); }
  double top5() const { return share(top5_); }
  int64_t count() const { return count_; }
  /// Images whose true class was the largest, or among the five largest.
  int64_t right() const { return top1_; }
  int64_t right5() const { return top5_; }
  void reset() { *this = Accuracy(); }

 private:
  double share(int64_t n) const { return count_ > 0 ? static_cast<double>(n) / static_cast<double>(count_) : 0; }
  int64_t top1_ = 0, top5_ = 0, count_ = 0;
};

/// How often each true class was predicted as each class.
class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(int64_t classes);
  /// Adds a batch; the prediction is the largest logit (the first of equals).
  /// @param logits  [B, C]   @param target  int64 [B], or soft targets [B, C]
  void add(const Tensor& logits, const Tensor& target);
  /// Adds images of one true and one predicted class. @throws Error for a class that does not exist.
  void add(int64_t truth, int64_t predicted, int64_t images = 1);

  /// Adds what another matrix of as many classes has counted.
  void merge(const ConfusionMatrix& other);

  int64_t classes() const { return classes_; }
  int64_t at(int64_t truth, int64_t predicted) const;
  /// Images of a class.
  int64_t images(int64_t truth) const;
  /// Share of a class's images that were recognized; 0 when there are none.
  double class_accuracy(int64_t truth) const { return ratio(at(truth, truth), images(truth)); }
  /// Share of all images that were recognized.
  double accuracy() const;

  /// One line per class with its images, its accuracy and the class it is most often taken for.
  /// @param names     class names; numbers stand for missing ones
  /// @param max_rows  with more classes than this, the worst ones (by accuracy) are shown
  std::string class_table(const std::vector<std::string>& names, int64_t max_rows = 40) const;

  /// The matrix: a row per true class, a column per predicted class, columns by number.
  std::string matrix_table(const std::vector<std::string>& names) const;

  /// The matrix as comma-separated values with the class names in the first row and column.
  std::string to_csv(const std::vector<std::string>& names) const;

 private:
  static double ratio(int64_t a, int64_t b) { return b > 0 ? static_cast<double>(a) / static_cast<double>(b) : 0; }
  static std::string name_of(const std::vector<std::string>& names, int64_t c);
  int name_width(const std::vector<std::string>& names, int most) const;

  int64_t classes_;
  std::vector<int64_t> counts_;
};

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/metrics-inl.h"
#endif
