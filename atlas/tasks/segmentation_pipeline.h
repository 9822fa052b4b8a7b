// What images and masks go through on their way to a segmenter, in training and in tests, and how the task is set up.
// Not in atlas.h: include it by name.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atlas/tasks/segmentation.h"
#include "atlas/tasks/settings.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// The settings of segmentation that other tasks do not have: --task-options '{"shorter": 1024}'.
struct SegmentationSettings {
  int64_t longer = 0, shorter = 0;
  double ratio_low = 0.5, ratio_high = 2;
  double most_of_a_class = 0.75;
  bool distortion = true;
  std::vector<double> class_weights;
  int64_t slide_crop = 0, slide_stride = 0;
  int64_t pictures = 8;

  static constexpr std::string_view kTitle = "segmentation";
  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("longer", c.longer, "bound of images' longer sides in pixels; 0: 4 times the shorter's",
          models::between(0, 65536));
    visit("shorter", c.shorter, "bound of their shorter sides; 0: image_size", models::between(0, 65536));
    visit("ratio_low", c.ratio_low, "least factor of both in training",
          models::Range{.least = 0, .most = 100, .least_itself = false});
    visit("ratio_high", c.ratio_high, "largest factor of both in training",
          models::Range{.least = 0, .most = 100, .least_itself = false});
    visit("most_of_a_class", c.most_of_a_class, "share of a crop that one class may fill; 1: any",
          models::Range{.least = 0, .most = 1});
    visit("distortion", c.distortion, "random brightness, contrast, saturation and hue", models::any_value());
    visit("class_weights", c.class_weights, "weights of the classes in the loss, a list such as [1, 1, 4]",
          models::at_least(0));
    visit("slide_crop", c.slide_crop, "tests: side of the pieces that images are cut into; 0: whole images",
          models::between(0, 65536));
    visit("slide_stride", c.slide_stride, "tests: distance of the pieces; 0: two thirds of the side",
          models::between(0, 65536));
    visit("pictures", c.pictures, "images on the sheet of pictures", models::between(0, 64));
  }
};

/// The settings in `settings.options`, with what follows from others in the place of zeros. @throws Error for bad ones.
SegmentationSettings segmentation_settings(const TaskSettings& settings);

/// The published training of MambaVision's segmenters: resize within bounds, crop, flip, distortion, normalize, pad;
/// and tests on whole images, measured at the size of the masks.
Pipeline segmentation_pipeline(const TaskSettings& settings);

/// Segmentation of the classes of a set. @throws Error for bad options, and for a set whose images have no masks.
std::unique_ptr<Task> make_segmentation(const data::Dataset& set, const TaskSettings& settings);

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/segmentation_pipeline-inl.h"
#endif
