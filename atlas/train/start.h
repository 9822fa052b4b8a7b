// Starting from weights that exist: loading them with or without their head, and freezing parts of a model.
// Not in atlas.h: include it by name.
#pragma once

#include <string>

#include "atlas/models/model.h"

namespace atlas::inline ATLAS_ABI::train {

/// What load_weights() accepts and does.
struct WeightOptions {
  bool head = true;  ///< false: the head keeps the weights it has, whatever the file holds, and the result says so
  bool ema = false;  ///< of PyTorch files with averaged weights: take those; runs of this program always give them
};

/// Loads the weights of a file into a model: a training checkpoint of this program, a PyTorch file or safetensors.
///
/// Names are fitted to the model's as io::fit_state_dict() says.
/// @return what was left out, in one line; "" when every tensor had its place
/// @throws Error naming the file when it cannot be read or does not fit; the model is then unchanged.
std::string load_weights(models::Model& model, const std::string& path, const WeightOptions& options = {});

/// Loads the weights of a classifier, or of any model with the same backbone, into the backbone of a model. Heads start
/// fresh, and so does what only pyramids have (outnorm0, ...).
/// @param ema  as in WeightOptions
/// @return what was taken and what was not, in one line
/// @throws Error as load_weights(), and when a part of the backbone is not in the file.
std::string load_backbone_weights(models::Model& model, const std::string& path, bool ema = false);

/// True for files that run_training() wrote, by their first bytes; whether such a file is sound shows when it is read.
/// A file that cannot be opened is none.
bool is_training_checkpoint(const std::string& path);

/// How many classes weights tell apart: the rows of their head; 0 when they have none.
/// @param head  the name of the layer, which may have any of the usual prefixes in front
int64_t classes_in(const StateDict& dict, const std::string& head);
/// The same of a file.
/// @param ema  as in WeightOptions
int64_t classes_in(const std::string& path, const std::string& head, bool ema = false);
/// How many classes weights for a preset tell apart, whatever it is made for: classifiers, segmenters, detectors.
int64_t classes_for(const std::string& preset, const StateDict& dict);
/// The same of a file.
/// @param ema  as in WeightOptions
int64_t classes_for(const std::string& preset, const std::string& path, bool ema = false);

/// Takes parts of a model out of training.
/// @param parts  separated by commas: names of Model::parts(), "backbone" (all but the head) or paths of modules
/// @throws Error naming a part that does not exist, and those there are.
void freeze_parts(models::Model& model, const std::string& parts);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/start-inl.h"
#endif
