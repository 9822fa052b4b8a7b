// What a task is made from besides a data set, and what becomes of its images.
#pragma once

#include <cstdint>
#include <string>

#include "atlas/data/transform.h"
#include "atlas/models/registry.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// How training images are changed, and targets with them. A task uses what suits it.
struct Augmentation {
  std::string crop = "pad";  ///< pad (zero padding, random crop), random-resized, or none
  int64_t crop_padding = 2;
  double min_crop_scale = 0.08;  ///< of the area, for random-resized
  double flip = 0.5;
  std::string interpolation = "bicubic";  ///< of random-resized and rand_augment: bicubic, bilinear, or random
  std::string rand_augment = {};          ///< a policy (data/rand_augment.h); takes the place of color_jitter
  double color_jitter = 0;
  double erase = 0;
  double mixup = 0;
  double cutmix = 0;
  double mix_prob = 1;
  double mix_switch = 0.5;
  double label_smoothing = 0;
  double mesa = 0;           ///< weight of the distillation from the moving average (tasks/classification.h)
  double mesa_start = 0.25;  ///< share of the epochs before it begins
  double eval_crop = 1;      ///< test images are resized to image_size / eval_crop and center-cropped
  bool eval_squash = false;  ///< both of their sides are resized to that, instead of the shorter one
};

/// What a task is made from, besides a data set.
struct TaskSettings {
  int64_t image_size = 32;         ///< side of the square images that the model was made for
  data::Normalize normalize = {};  ///< of the data, or of the weights that training starts from
  Augmentation augmentation = {};
  std::string options = {};  ///< a JSON object with fields of the task's own; may be empty. See read_options().
};

/// What becomes of samples before a model sees them.
struct Pipeline {
  data::Transform train, test;
  int64_t train_pad = 0, test_pad = 0;  ///< LoaderOptions::pad: images of different sizes in one batch
  int64_t test_batch = 0;               ///< images per batch in tests; 0 leaves it to the settings
};

/// The fields of a task that TaskSettings::options names; the others keep their defaults.
/// @tparam Options  lists its fields as configurations do (models/fields.h), with kTitle
/// @throws Error naming the field that is unknown, of a wrong type or out of range.
template <class Options>
Options read_options(const TaskSettings& settings, Options options = {}) {
  models::detail::merge_config(options, settings.options.empty() ? "{}" : settings.options);
  models::check_ranges(options, Options::kTitle);
  return options;
}

}  // namespace atlas::inline ATLAS_ABI::tasks
