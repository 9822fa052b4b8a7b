// What the authors of the models published besides weights: how each size was evaluated.
#pragma once

#include <string_view>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::models {

/// The crop of a published evaluation; the rest (bicubic, ImageNet's mean and deviation) is common to all.
struct PublishedEvaluation {
  double crop = 1;      ///< side of the centre crop / side of the resized picture
  bool squash = false;  ///< both sides were resized to the same length, instead of the shorter one
};

/// How the preset `name` was evaluated; names without a publication get the defaults.
inline PublishedEvaluation published_evaluation(std::string_view name) {
  if (name == "mambavision-t2") return {0.98, false};
  if (name == "mambavision-s") return {0.93, false};
  if (name == "mambavision-l2-512" || name == "mambavision-l3-512") return {0.93, true};
  if (name == "atlas-s" || name == "atlas-b" || name == "atlas-l") return {1, true};
  return {};
}

}  // namespace atlas::inline ATLAS_ABI::models
