// What the authors of the models published besides weights: how each size was evaluated, and how large it is.
#pragma once

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::models {

/// The crop of a published evaluation; the rest (bicubic, ImageNet's mean and deviation) is common to all.
struct PublishedEvaluation {
  double crop = 1;      ///< side of the center crop / side of the resized picture
  bool squash = false;  ///< both sides were resized to the same length, instead of the shorter one
};

/// A row of the paper's table of models; zeros for names without one.
struct PublishedSize {
  double parameters = 0;     ///< in millions
  double multiply_adds = 0;  ///< in billions for an image of the preset's size: linear layers and convolutions alone
};

}  // namespace atlas::inline ATLAS_ABI::models
