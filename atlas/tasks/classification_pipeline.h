// What images go through on their way to a classifier, in training and in tests, and how the task is set up.
// Not in atlas.h: include it by name.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "atlas/data/augment.h"
#include "atlas/data/evaluation.h"
#include "atlas/data/select.h"
#include "atlas/tasks/augmentation.h"
#include "atlas/tasks/classification.h"
#include "atlas/tasks/settings.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// Test images: small ones are centered on black when training pads too, others become what evaluation_transform()
/// makes of them, so that training's tests say what classify says.
struct FitImage {
  int64_t size;
  double eval_crop = 1;
  bool pad = true;
  bool squash = false;
  data::Geometry geometry(const Tensor& image, data::Rng& rng) const {
    const Tensor x = data::as_image(image, "FitImage");
    return geometry(x.size(0), x.size(1), rng);
  }
  data::Geometry geometry(int64_t height, int64_t width, data::Rng& rng) const {
    if (pad && !squash && height <= size && width <= size) return data::CenterCrop{size, size}.geometry(height, width);
    const data::detail::EvaluationFit published{
        {.height = size, .width = size, .crop = eval_crop, .squash = squash, .normalize = {}}};
    return published.geometry(height, width, rng);
  }
  Tensor operator()(const Tensor& image, data::Rng& rng) const { return geometry(image, rng).image(image); }
};

/// The transforms of a classifier's images: crop, flip, RandAugment or jitter, normalize, erase. data::cut_for_device()
/// leaves a part of them to a device.
inline Pipeline classification_pipeline(const TaskSettings& s) {
  const Augmentation& a = s.augmentation;
  const FitImage fit{s.image_size, a.eval_crop, a.crop == "pad", a.eval_squash};
  std::vector<data::Transform> steps;
  if (a.crop == "random-resized")
    steps.push_back(data::RandomResizedCrop{
        s.image_size, s.image_size, {a.min_crop_scale, 1.0}, {3.0 / 4.0, 4.0 / 3.0}, training_interpolation(a)});
  else
    steps.push_back(fit);
  if (a.crop == "pad") steps.push_back(data::PadAndCrop{a.crop_padding, s.image_size, s.image_size});
  if (a.flip > 0) steps.push_back(data::RandomFlip{a.flip});
  add_rand_augment(steps, s);
  steps.push_back(s.normalize);
  if (a.erase > 0) steps.push_back(data::RandomErasing{a.erase});
  return {.train = data::Compose{std::move(steps)}, .test = data::Compose{{fit, s.normalize}}};
}

/// Classification of the classes of a set. @throws Error for options, of which it has none, and for a set whose images
/// have no classes.
inline std::unique_ptr<Task> make_classification(const data::Dataset& set, const TaskSettings& s) {
  check(s.options.empty() || s.options == "{}", "classification", "has no options of its own, got {}", s.options);
  if (set.size() > 0) {
    const data::Targets targets = data::first_targets(set);
    check(targets.empty() || targets.contains(data::kLabel), "classification",
          "needs one class for each image (the target '{}'), but {} has: {}", data::kLabel, set.name(),
          targets.names());
  }
  const Augmentation& a = s.augmentation;
  return std::make_unique<Classification>(
      set.classes(), data::MixOptions{a.mixup, a.cutmix, a.mix_prob, a.mix_switch, a.label_smoothing},
      MesaOptions{.weight = a.mesa, .start = a.mesa_start});
}

}  // namespace atlas::inline ATLAS_ABI::tasks
