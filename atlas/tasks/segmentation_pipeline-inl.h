// Bodies of segmentation_pipeline.h.
#pragma once

#include "atlas/data/augment.h"
#include "atlas/data/dense_augment.h"
#include "atlas/data/select.h"
#include "atlas/tasks/augmentation.h"
#include "atlas/tasks/segmentation_pipeline.h"

namespace atlas::inline ATLAS_ABI::tasks {

ATLAS_INLINE SegmentationSettings segmentation_settings(const TaskSettings& s) {
  SegmentationSettings o = read_options<SegmentationSettings>(s);
  if (o.shorter == 0) o.shorter = s.image_size;
  if (o.longer == 0) o.longer = 4 * o.shorter;
  if (o.slide_stride == 0) o.slide_stride = std::max<int64_t>(1, o.slide_crop * 2 / 3);
  check(o.shorter <= o.longer, "segmentation", "shorter = {} must be at most longer = {}", o.shorter, o.longer);
  check(o.ratio_low <= o.ratio_high, "segmentation", "ratio_low = {} must be at most ratio_high = {}", o.ratio_low,
        o.ratio_high);
  check(o.slide_stride <= o.slide_crop || o.slide_crop == 0, "segmentation",
        "slide_stride = {} must be at most slide_crop = {}", o.slide_stride, o.slide_crop);
  return o;
}

ATLAS_INLINE Pipeline segmentation_pipeline(const TaskSettings& s) {
  const SegmentationSettings o = segmentation_settings(s);
  std::vector<data::Transform> steps = {
      data::ResizeWithin{o.longer, o.shorter, {o.ratio_low, o.ratio_high}},
      data::RandomClassCrop{s.image_size, s.image_size, o.most_of_a_class},
  };
  if (s.augmentation.flip > 0) steps.push_back(data::RandomFlip{s.augmentation.flip});
  add_rand_augment(steps, s);
  if (o.distortion) steps.push_back(data::PhotometricDistortion{});
  steps.push_back(s.normalize);
  steps.push_back(data::PadTo{s.image_size, s.image_size});
  return {.train = data::Compose{std::move(steps)},
          .test = data::Compose{{data::KeepTruth{}, data::ResizeWithin{o.longer, o.shorter}, s.normalize}},
          .test_batch = 1};
}

ATLAS_INLINE std::unique_ptr<Task> make_segmentation(const data::Dataset& set, const TaskSettings& s) {
  const SegmentationSettings o = segmentation_settings(s);
  check_dense(s.augmentation, "segmentation");
  if (set.size() > 0) {
    const data::Targets targets = data::first_targets(set);
    const data::Target* mask = targets.find(data::kMask);
    check(
        targets.empty() || (mask != nullptr && mask->kind == data::TargetKind::mask), "segmentation",
        "needs a class for every pixel (the target '{}'), but {} has: {} (data with masks: ade20k:FOLDER, masks:FOLDER "
        "or scenes)",
        data::kMask, set.name(), targets.names());
  }
  return std::make_unique<Segmentation>(
      set.classes(),
      SegmentationOptions{
          .class_weights = o.class_weights, .pictures = o.pictures, .crop = o.slide_crop, .stride = o.slide_stride});
}

}  // namespace atlas::inline ATLAS_ABI::tasks
