// What images go through on their way to a classifier, in training and in tests, and how the task is set up.
// Not in atlas.h: include it by name.
#pragma once

#include <cmath>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "atlas/data/augment.h"
#include "atlas/data/rand_augment.h"
#include "atlas/data/select.h"
#include "atlas/tasks/classification.h"
#include "atlas/tasks/settings.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// Test images: small ones are centered on black when training pads too, others are resized so that the shorter side
/// (with `squash`: each side, which changes proportions) is image_size / eval_crop, and cut to the center.
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
    const data::CenterCrop middle{size, size};
    if (pad && !squash && height <= size && width <= size) return middle.geometry(height, width);
    const auto side = static_cast<int64_t>(std::lround(static_cast<double>(size) / eval_crop));
    if (squash) {
      const data::Geometry square = {data::Scale{side, side, Interpolation::bicubic}};
      return square.then(middle.geometry(side, side));
    }
    const data::Geometry shorter = data::ResizeShorter{side, Interpolation::bicubic}.geometry(height, width, rng);
    const auto& resized = std::get<data::Scale>(shorter.moves()[0]);
    return shorter.then(middle.geometry(resized.height, resized.width));
  }
  Tensor operator()(const Tensor& image, data::Rng& rng) const { return geometry(image, rng).image(image); }
};

/// How pixels between pixels are found in training; none: bilinear or bicubic, by chance.
inline std::optional<Interpolation> training_interpolation(const Augmentation& a) {
  check(a.interpolation == "bicubic" || a.interpolation == "bilinear" || a.interpolation == "random", "interpolation",
        "'{}' is unknown; there are bicubic, bilinear and random", a.interpolation);
  if (a.interpolation == "random") return {};
  return a.interpolation == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
}

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
  if (!a.rand_augment.empty()) {
    data::RandAugment augment = data::RandAugment::of(a.rand_augment, s.normalize);
    augment.mode = training_interpolation(a);
    steps.push_back(std::move(augment));
  } else if (a.color_jitter > 0) {
    steps.push_back(data::ColorJitter{a.color_jitter, a.color_jitter, a.color_jitter});
  }
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
