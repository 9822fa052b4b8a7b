// What the authors of the models published besides weights: how each size was evaluated, and how large it is.
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

/// A row of the paper's table of models; zeros for names without one.
struct PublishedSize {
  double parameters = 0;     ///< in millions
  double multiply_adds = 0;  ///< in billions for an image of the preset's size: linear layers and convolutions alone
};

/// What the MambaVision paper says of the preset `name`: its table calls the multiply-adds FLOPs.
inline PublishedSize published_size(std::string_view name) {
  if (name == "mambavision-t") return {31.8, 4.4};
  if (name == "mambavision-t2") return {35.1, 5.1};
  if (name == "mambavision-s") return {50.1, 7.5};
  if (name == "mambavision-b") return {97.7, 15.0};
  if (name == "mambavision-l") return {227.9, 34.9};
  if (name == "mambavision-l2") return {241.5, 37.5};
  if (name == "mambavision-l3-512") return {739.6, 489.1};
  return {};
}

}  // namespace atlas::inline ATLAS_ABI::models
