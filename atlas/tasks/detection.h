// Detection: boxes, classes and masks of the objects in images. The parts of the loss by name, COCO's numbers, and a
// sheet of pictures with what was found.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "atlas/models/heads/detect.h"
#include "atlas/tasks/coco_metric.h"
#include "atlas/tasks/task.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// Targets of samples with objects, a row for each; "label" is its class. Only kBoxes and the label must be there. An
/// object whose mask has no pixel has none: its box alone is learned and measured.
inline constexpr const char *kBoxes = "boxes", *kInstanceMasks = "instance_masks", *kCrowd = "crowd", *kArea = "area";
/// Of a batch: height and width of each image before padding, int64 [B, 2]; Detection::arrange() sets it.
inline constexpr const char* kSizes = "sizes";

/// What was found out about images with objects.
///
/// Of training: "loss" and its parts, the stages' sums: "rpn_cls", "rpn_bbox", "cls", "bbox", "mask". Of tests: COCO's
/// numbers of boxes "AP", "AP50", "AP75" and, of models and sets with masks, "mask_AP", "mask_AP50" (shares; 0 where
/// there is nothing to find). Truths are boxes as they were written (data::kWrittenBoxes), where the set has them and
/// the pipeline keeps them (data::KeepTruth): the numbers are pycocotools', and those of detect --coco.
class DetectionMeter : public Meter {
 public:
  DetectionMeter(std::vector<std::string> classes, bool training, bool masks);

  ATLAS_INLINE void add(const Named& outputs, const data::Targets& targets, const Named& losses,
                        const std::vector<int64_t>& indices) override;
  ATLAS_INLINE void merge(const Meter& other) override;
  ATLAS_INLINE std::vector<Value> values() const override;
  /// Of tests nothing: COCO's numbers are those of all images, and take long.
  std::vector<Value> values_so_far() const override { return training_ ? values() : std::vector<Value>(); }
  int64_t images() const override { return seen_; }
  ATLAS_INLINE StateDict state() const override;
  ATLAS_INLINE void load_state(const StateDict& state) override;

  /// COCO's numbers so far.
  CocoResult result(CocoShape shape) const;
  /// Whether masks were compared.
  bool with_masks() const { return masks_; }
  const std::vector<CocoObject>& truths() const { return truths_; }
  const std::vector<CocoObject>& found() const { return found_; }
  /// Height and width of what was measured, the pictures' own where the pipeline kept them (data::KeepTruth), else as
  /// the model saw them; by position in the set.
  const std::map<int64_t, std::array<int64_t, 2>>& sizes() const { return sizes_; }

 private:
  void add_losses(const Named& losses, int64_t images);
  void add_objects(const Named& outputs, const data::Targets& targets, const std::vector<int64_t>& indices);

  std::vector<std::string> classes_;
  bool training_, masks_;
  int64_t seen_ = 0;
  std::array<double, 6> sums_{};  // of losses, times images
  std::vector<CocoObject> truths_, found_;
  std::map<int64_t, std::array<int64_t, 2>> sizes_;
};

/// Objects: what a models::Detector learns and is measured by. Better is the higher "AP".
class Detection : public Task {
 public:
  /// @param classes  names of the classes
  /// @param masks    whether the images' objects have masks
  /// @throws Error for no class.
  explicit Detection(std::vector<std::string> classes, bool masks = true, int64_t pictures = 12);

  /// Sets the target kSizes.
  ATLAS_INLINE void arrange(data::Batch& batch) const override;
  /// In training the parts of the loss. In tests what was found, the objects of all images joined: "boxes" [n, 4] in
  /// pixels of the original pictures (of the model's input, without data::KeepTruth), "scores" [n], "labels" int64 [n],
  /// "counts" int64 [B], and "masks" [n, S, S] where the model gives them.
  ATLAS_INLINE Named outputs(const Module& model, const Tensor& images, const data::Targets& targets) const override;
  ATLAS_INLINE Named loss(const Named& outputs, const data::Targets& targets) const override;
  /// None: what was found has no loss.
  Named test_loss(const Named&, const data::Targets&) const override { return {}; }
  ATLAS_INLINE std::unique_ptr<Meter> meter(bool training) const override;
  Goal goal() const override { return {"AP", "AP", "AP (%)", true, true}; }
  /// detections.png; COCO's numbers and AP by class, of boxes and of masks.
  ATLAS_INLINE Report report(const data::Dataset& set, const Meter& test, const ReportOptions& options) const override;

 private:
  std::vector<std::string> classes_;
  bool masks_;
  int64_t pictures_;
};

/// A color for each class, the same for the same number.
std::array<uint8_t, 3> class_color(int64_t category);

/// An image with boxes, class names and scores drawn on it, and masks laid over it.
/// @param image    uint8 [H, W, 3]
/// @param objects  in pixels of the image; masks, where there are any, of its size
Tensor draw_objects(const Tensor& image, const std::vector<CocoObject>& objects,
                    const std::vector<std::string>& classes, bool scores = true);

/// The same with the image resized first, its longer side to `side` pixels, so that lines and names can be read there.
/// @param size     height and width that the objects' boxes and masks are given in
Tensor draw_reduced(const Tensor& image, const std::vector<CocoObject>& objects, const std::array<int64_t, 2>& size,
                    int64_t side, const std::vector<std::string>& classes);

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/detection-inl.h"
#include "atlas/tasks/detection_picture-inl.h"
#endif
