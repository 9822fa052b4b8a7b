// Classification: one class for each image. Mixing and label smoothing, top-1 and top-5, the confusion matrix, and a
// sheet of pictures with what they are and what the model says.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "atlas/data/mix.h"
#include "atlas/tasks/metrics.h"
#include "atlas/tasks/task.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// What was found out about images that have one class each.
///
/// Values: "loss", "accuracy" and, of tests, "top5". Of tests it also keeps the confusion matrix and every prediction.
class ClassificationMeter : public Meter {
 public:
  /// @param classes   of the set
  /// @param training  sums alone
  ClassificationMeter(int64_t classes, bool training);

  /// Reads the output "logits" [B, classes], and the target "soft_label" where there is one, else "label".
  ATLAS_INLINE void add(const Named& outputs, const data::Targets& targets, const Named& losses,
                        const std::vector<int64_t>& indices) override;
  ATLAS_INLINE void merge(const Meter& other) override;
  ATLAS_INLINE std::vector<Value> values() const override;
  int64_t images() const override { return static_cast<int64_t>(seen_); }
  ATLAS_INLINE StateDict state() const override;
  ATLAS_INLINE void load_state(const StateDict& state) override;

  double loss() const { return share(loss_sum_); }
  double top1() const { return share(right_); }
  double top5() const { return share(right_5_); }
  const ConfusionMatrix& confusion() const { return confusion_; }
  /// Of every image of a test, in the order in which they came.
  const std::vector<int64_t>& indices() const { return indices_; }
  const std::vector<int64_t>& labels() const { return labels_; }
  const std::vector<int64_t>& predictions() const { return predictions_; }

 private:
  double share(double sum) const { return seen_ > 0 ? sum / seen_ : 0; }

  bool training_;
  double loss_sum_ = 0, right_ = 0, right_5_ = 0, seen_ = 0;  // of images
  ConfusionMatrix confusion_;
  std::vector<int64_t> indices_, labels_, predictions_;
};

/// Distillation from the moving average of the weights, "MESA" (Du et al., "Sharpness-aware training for free", NeurIPS
/// 2022, equation 6, with the constants of MambaVision's authors).
struct MesaOptions {
  double weight = 0;       ///< w; 0: off
  double start = 0.25;     ///< from the first epoch e, counted from 0, with e / epochs above this
  double scale = 50;       ///< s
  double temperature = 3;  ///< T
};

/// Name of the target that Classification::prepare() adds: softmax(z_average / T), [B, classes].
inline constexpr const char* kAverageProbability = "average_probability";

/// One class for each image: cross-entropy with the target "label", int64 [B], or "soft_label", float32 [B, classes],
/// which mixing and smoothing make of it.
///
/// -Σ_c t_c log softmax(logits)_c, the mean over the batch. Better is the higher "accuracy".
///
/// With MESA, another part "mesa": w s KL(softmax(z_average / T) || softmax(z / T)), summed over classes, the mean over
/// the batch; z_average is what the moving average of the weights makes of the same mixed images, in evaluation mode
/// and without a gradient.
class Classification : public Task {
 public:
  /// @param classes  names of the classes
  /// @throws Error for options out of range, or no class.
  explicit Classification(std::vector<std::string> classes, const data::MixOptions& mix = {},
                          const MesaOptions& mesa = {});

  /// With MESA, in the epochs that have it: what the moving average makes of the images.
  /// @throws Error when no moving average is kept.
  ATLAS_INLINE void prepare(const Module& model, const Tensor& images, data::Targets& targets,
                            const Moment& now) const override;
  void collate(data::Batch& batch, data::Rng& rng) const override { mix_(batch, rng); }
  ATLAS_INLINE Named loss(const Named& outputs, const data::Targets& targets) const override;
  ATLAS_INLINE std::unique_ptr<Meter> meter(bool training) const override;
  Goal goal() const override { return {"accuracy", "acc", "% correct", true, true}; }
  /// predictions.png and confusion.csv; tables of the classes and, of at most 20, the matrix.
  ATLAS_INLINE Report report(const data::Dataset& set, const Meter& test, const ReportOptions& options) const override;

 private:
  int64_t num_classes() const { return static_cast<int64_t>(classes_.size()); }
  std::vector<std::string> classes_;
  data::Mix mix_;
  MesaOptions mesa_;
};

/// A picture of test images with what they are and what the model says: every second one a mistake, as far as there are
/// mistakes.
/// @param count  images to show, at most
Tensor prediction_sheet(const data::Dataset& set, const ClassificationMeter& test, int64_t count,
                        const std::string& title);

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/classification-inl.h"
#endif
