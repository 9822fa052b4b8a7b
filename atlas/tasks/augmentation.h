// Augmentation that several tasks use.
// Not in atlas.h: include it by name.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "atlas/data/augment.h"
#include "atlas/data/rand_augment.h"
#include "atlas/tasks/settings.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// How pixels between pixels are found in training; none: bilinear or bicubic, by chance.
inline std::optional<Interpolation> training_interpolation(const Augmentation& a) {
  check(a.interpolation == "bicubic" || a.interpolation == "bilinear" || a.interpolation == "random", "interpolation",
        "'{}' is unknown; there are bicubic, bilinear and random", a.interpolation);
  if (a.interpolation == "random") return {};
  return a.interpolation == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
}

/// Adds RandAugment, which moves masks and boxes with the image, or where there is none the jitter of colors. Both come
/// after crops and flips and before Normalize.
inline void add_rand_augment(std::vector<data::Transform>& steps, const TaskSettings& s) {
  const Augmentation& a = s.augmentation;
  if (!a.rand_augment.empty()) {
    data::RandAugment augment = data::RandAugment::of(a.rand_augment, s.normalize);
    augment.mode = training_interpolation(a);
    steps.push_back(std::move(augment));
  } else if (a.color_jitter > 0) {
    steps.push_back(data::ColorJitter{a.color_jitter, a.color_jitter, a.color_jitter});
  }
}

/// Refuses what is for images of one class alone.
/// @throws Error naming the setting
inline void check_dense(const Augmentation& a, const char* task) {
  for (const auto& [name, value] : {std::pair{"mixup", a.mixup},
                                    {"cutmix", a.cutmix},
                                    {"label_smoothing", a.label_smoothing},
                                    {"erase", a.erase},
                                    {"mesa", a.mesa}})
    check(value == 0, task, "{} = {}: it is for images of one class; leave it at 0", name, value);
}

}  // namespace atlas::inline ATLAS_ABI::tasks
