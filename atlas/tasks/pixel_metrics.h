// What segmentation is measured by: how often each class of pixels was taken for each, and what follows from that.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atlas/data/sample.h"
#include "atlas/tasks/metrics.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// Pixels by true and predicted class, and the measures of segmentation. Ignored pixels count nowhere, not even in a
/// union. Classes that occur neither in truth nor in prediction are left out of the means.
class PixelConfusion {
 public:
  explicit PixelConfusion(int64_t classes) : counts_(classes) {}

  /// @param prediction  class of each pixel: uint8 or int64, any shape
  /// @param label       uint8 or int64, of the same shape
  /// @param ignored     label of the pixels that do not count
  /// @throws Error for a class that does not exist.
  void add(const Tensor& prediction, const Tensor& label, int64_t ignored = data::kIgnored);
  void merge(const PixelConfusion& other) { counts_.merge(other.counts_); }

  /// |truth and prediction| / |truth or prediction|; NaN for a class that is in neither.
  double iou(int64_t c) const;
  /// Share of the class's pixels that were found; NaN when there are none.
  double accuracy(int64_t c) const;
  /// Means over the classes that have a value; 0 when none has.
  double mean_iou() const { return mean(&PixelConfusion::iou); }
  double mean_accuracy() const { return mean(&PixelConfusion::accuracy); }
  /// Share of all pixels that are right; 0 without pixels.
  double all_accuracy() const { return counts_.accuracy(); }

  int64_t classes() const { return counts_.classes(); }
  const ConfusionMatrix& counts() const { return counts_; }
  /// int64 [classes, classes], true classes in rows.
  Tensor state() const;
  /// @throws Error when the state is of another number of classes.
  void load_state(const Tensor& state);

  /// A line for each class: its share of the pixels, IoU, accuracy, and what it is most often taken for.
  std::string table(const std::vector<std::string>& names, int64_t max_rows = 200) const;

 private:
  double mean(double (PixelConfusion::*value)(int64_t) const) const;

  ConfusionMatrix counts_;
};

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/pixel_metrics-inl.h"
#endif
