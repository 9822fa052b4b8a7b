// Semantic segmentation: a class for every pixel. Cross-entropy of two heads, mIoU, and a sheet of pictures with truth,
// prediction and mistakes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "atlas/models/heads/segment.h"
#include "atlas/tasks/pixel_metrics.h"
#include "atlas/tasks/task.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// Cross-entropy of the logits, resized to the labels' size, summed over the labeled pixels and divided by the number
/// of ALL pixels, ignored ones included, as in the published training; 0 where all are ignored.
/// @param logits   float32 or float64 [B, h, w, C]
/// @param labels   uint8 or int64 [B, H, W], in [0, C) or `ignored`
/// @param weight   of each class, [C], or undefined for ones
/// @param strip_bytes  0: all at once; else in strips of rows, never more than so many bytes of resized logits at a
///                     time, and without a gradient
/// @throws Error for a label that is neither a class nor `ignored`.
Tensor pixel_loss(const Tensor& logits, const Tensor& labels, int64_t ignored = data::kIgnored,
                  const Tensor& weight = {}, int64_t strip_bytes = 0);

/// Percentage of the labeled pixels whose largest logit is right; 0 where there are none.   As pixel_loss().
double pixel_accuracy(const Tensor& logits, const Tensor& labels, int64_t ignored = data::kIgnored);

/// What was found out about images whose pixels have classes.
///
/// Values: "loss", "mIoU", "mAcc" and "aAcc" (shares). Of tests it keeps the class maps of a few images for pictures.
class SegmentationMeter : public Meter {
 public:
  /// @param pictures  class maps to keep, at most
  SegmentationMeter(int64_t classes, int64_t pictures);

  /// Reads the target "mask" and the output "classes" [B, H, W], or where there is none, "logits" [B, h, w, classes].
  ATLAS_INLINE void add(const Named& outputs, const data::Targets& targets, const Named& losses,
                        const std::vector<int64_t>& indices) override;
  ATLAS_INLINE void merge(const Meter& other) override;
  ATLAS_INLINE std::vector<Value> values() const override;
  int64_t images() const override { return static_cast<int64_t>(seen_); }
  ATLAS_INLINE StateDict state() const override;
  ATLAS_INLINE void load_state(const StateDict& state) override;

  double loss() const { return seen_ > 0 ? loss_sum_ / seen_ : 0; }
  const PixelConfusion& confusion() const { return confusion_; }
  /// Class maps uint8 or int64 [H, W] by position in the set: those of the smallest ranks, which follow from the
  /// positions alone, so that it does not matter in which order or by whom images were seen.
  const std::map<int64_t, Tensor>& maps() const { return maps_; }

 private:
  void keep(int64_t index, const Tensor& map);

  int64_t pictures_;
  double loss_sum_ = 0, seen_ = 0;
  PixelConfusion confusion_;
  std::map<int64_t, Tensor> maps_;
};

struct SegmentationOptions {
  std::vector<double> class_weights = {};  ///< one for each class, or none
  int64_t pictures = 8;                    ///< images on the sheet
  int64_t crop = 0, stride = 0;            ///< of tests: Segmenter::slide(); 0: the whole image at once
};

/// A class for every pixel: cross-entropy with the target "mask".
///
/// Parts of the loss, by the names of published logs: "decode.loss_ce", and in training "aux.loss_ce", already times
/// the model's auxiliary_weight(). Better is the higher "mIoU".
class Segmentation : public Task {
 public:
  /// @param classes  names of the classes
  /// @throws Error for no class, or another number of weights, or one that is negative.
  explicit Segmentation(std::vector<std::string> classes, const SegmentationOptions& options = {});

  /// "logits". In training also "auxiliary", the other head's, and "auxiliary_weight", a number. In tests also
  /// "classes", int64 [B, H, W] of the size of the target "mask" (of the images, where there is none). Tests in pieces
  /// (SegmentationOptions::crop) have "loss" in the place of "logits", which would be as large as the photograph.
  ATLAS_INLINE Named outputs(const Module& model, const Tensor& images, const data::Targets& targets) const override;
  Named loss(const Named& outputs, const data::Targets& targets) const override { return losses(outputs, targets, 0); }
  /// In strips: photographs are large.
  Named test_loss(const Named& outputs, const data::Targets& targets) const override {
    return losses(outputs, targets, kStripBytes);
  }
  ATLAS_INLINE std::unique_ptr<Meter> meter(bool training) const override;
  Goal goal() const override { return {"mIoU", "mIoU", "mIoU (%)", true, true}; }
  /// predictions.png, confusion.csv, and the table of the classes.
  ATLAS_INLINE Report report(const data::Dataset& set, const Meter& test, const ReportOptions& options) const override;

 private:
  static constexpr int64_t kStripBytes = int64_t{1} << 25;  // of logits of a photograph's size, at a time
  Named losses(const Named& outputs, const data::Targets& targets, int64_t strip_bytes) const;

  int64_t num_classes() const { return static_cast<int64_t>(classes_.size()); }
  /// Of the dtype and on the device of the logits; undefined for ones.
  ATLAS_INLINE Tensor class_weights(const Tensor& logits) const;
  std::vector<std::string> classes_;
  SegmentationOptions options_;
};

/// Photograph, truth, prediction and mistakes (red; gray: ignored) of images of a test, a row each, and a legend.
Tensor segmentation_sheet(const data::Dataset& set, const SegmentationMeter& test, const std::string& title);

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/segmentation-inl.h"
#endif
