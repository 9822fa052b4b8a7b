// A model out of a training checkpoint, ready to classify pictures.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "atlas/data/transform.h"
#include "atlas/models/classifier.h"
#include "atlas/train/config.h"

namespace atlas::inline ATLAS_ABI::train {

/// A trained model and what belongs to it.
struct TrainedModel {
  TrainConfig config;
  std::vector<std::string> classes;
  std::unique_ptr<models::Classifier> model;  ///< in inference mode, with the averaged weights when the run kept them
  data::Transform transform;                  ///< from a uint8 image [H,W,3] to what the model was tested on

  /// Class probabilities of one picture.   uint8 [H,W,3] -> float32 [classes]
  Tensor classify(const Tensor& image) const;
};

/// Loads a checkpoint that run_training() wrote (best.ckpt or last.ckpt).
/// @throws Error naming the file when it is missing, damaged or no training checkpoint.
TrainedModel load_trained_model(const std::string& path);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/trained_model-inl.h"
#endif
