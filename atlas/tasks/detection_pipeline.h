// What images and objects go through on their way to a detector, and how the task is set up.
// Not in atlas.h: include it by name.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "atlas/data/augment.h"
#include "atlas/data/dense_augment.h"
#include "atlas/data/detect_augment.h"
#include "atlas/data/select.h"
#include "atlas/tasks/augmentation.h"
#include "atlas/tasks/detection.h"
#include "atlas/tasks/settings.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// The settings of detection that other tasks do not have: --task-options '{"shorter": 800}'.
struct DetectionSettings {
  int64_t longer = 0, shorter = 0, shorter_low = 0;
  bool crop = true;
  int64_t pictures = 12;

  static constexpr std::string_view kTitle = "detection";
  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("longer", c.longer, "bound of images' longer sides in pixels; 0: image_size", models::between(0, 65536));
    visit("shorter", c.shorter, "of tests, and at most in training; 0: 0.6 of longer from 480 on, else longer",
          models::between(0, 65536));
    visit("shorter_low", c.shorter_low,
          "at least in training, in steps of 32; 0: 0.6 of shorter from 480 on, else shorter",
          models::between(0, 65536));
    visit("crop", c.crop, "every second training image is cropped before it is resized (from 480 on)",
          models::any_value());
    visit("pictures", c.pictures, "images on the sheet of pictures", models::between(0, 64));
  }
};

namespace detail {
/// The settings with what follows from others.
inline DetectionSettings completed(DetectionSettings o, int64_t image_size) {
  if (o.longer == 0) o.longer = image_size;
  const bool large = o.longer >= 480;
  if (o.shorter == 0) o.shorter = large ? (o.longer * 3 + 2) / 5 : o.longer;  // 1333: 800
  if (o.shorter_low == 0) o.shorter_low = large ? o.shorter * 3 / 5 : o.shorter;
  o.crop = o.crop && large;
  check(o.shorter_low <= o.shorter && o.shorter <= o.longer, "detection",
        "needs shorter_low <= shorter <= longer, got {}, {} and {}", o.shorter_low, o.shorter, o.longer);
  return o;
}
inline DetectionSettings detection_settings(const TaskSettings& s) {
  return completed(read_options<DetectionSettings>(s), s.image_size);
}
}  // namespace detail

/// How images are resized in tests, and wherever else a trained detector looks at pictures.
/// @param longer, shorter  take the place of the settings'; 0: those stay. Of a new longer side alone the shorter one
///                         is what it would be of longer = image_size
/// @throws Error for bad options, and when the shorter side is the longer one.
inline data::ResizeShortLong detection_resize(const TaskSettings& s, int64_t longer = 0, int64_t shorter = 0) {
  DetectionSettings o = read_options<DetectionSettings>(s);
  if (longer > 0) o.longer = longer, o.shorter = 0;
  if (shorter > 0) o.shorter = shorter;
  if (longer > 0 || shorter > 0) o.shorter_low = 0;
  const int64_t most = o.longer > 0 ? o.longer : s.image_size;
  check(shorter <= most, "detection", "needs shorter <= longer, got {} and {}{}", shorter, most,
        longer > 0 ? "" : ": give a larger longer side, too");
  o = detail::completed(o, s.image_size);
  return {{o.shorter}, o.longer};
}

/// The published training of MambaVision's detectors: resize to one of several lengths, half of the images through a
/// crop, flip, normalize, pad to a multiple of 32; tests resize to one and measure in pixels of the pictures as they
/// were.
inline Pipeline detection_pipeline(const TaskSettings& s) {
  const DetectionSettings o = detail::detection_settings(s);
  std::vector<int64_t> lengths;
  for (int64_t side = o.shorter_low; side <= o.shorter; side += 32) lengths.push_back(side);
  std::vector<data::Transform> steps;
  if (o.crop)
    steps.push_back(data::ResizeCropResize{{o.shorter / 2, o.shorter * 5 / 8, o.shorter * 3 / 4},
                                           lengths,
                                           o.shorter * 12 / 25,
                                           o.shorter * 3 / 4,
                                           o.longer});
  else
    steps.push_back(data::ResizeShortLong{lengths, o.longer});
  if (s.augmentation.flip > 0) steps.push_back(data::RandomFlip{s.augmentation.flip});
  add_rand_augment(steps, s);
  steps.push_back(s.normalize);
  return {.train = data::Compose{std::move(steps)},
          .test = data::Compose{{data::KeepTruth{}, detection_resize(s), s.normalize}},
          .train_pad = 32,
          .test_pad = 32};
}

/// Detection of the classes of a set. @throws Error for bad options, and for a set whose images have no objects.
inline std::unique_ptr<Task> make_detection(const data::Dataset& set, const TaskSettings& s) {
  const DetectionSettings o = detail::detection_settings(s);
  check_dense(s.augmentation, "detection");
  bool masks = true;
  if (set.size() > 0) {
    const data::Targets targets = data::first_targets(set);
    check(targets.empty() || (targets.contains(kBoxes) && targets.contains(data::kLabel)), "detection",
          "needs objects (the targets '{}' and '{}'), but {} has: {} (data with boxes: coco:FOLDER, voc:FOLDER or "
          "objects)",
          kBoxes, data::kLabel, set.name(), targets.names());
    masks = targets.empty() || targets.contains(kInstanceMasks);
  }
  return std::make_unique<Detection>(set.classes(), masks, o.pictures);
}

}  // namespace atlas::inline ATLAS_ABI::tasks
