// A detector with trained weights, and what it takes to show it pictures.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "atlas/data/detect_augment.h"
#include "atlas/models/heads/detect.h"
#include "atlas/tasks/coco_metric.h"
#include "atlas/train/trained_model.h"

namespace atlas::inline ATLAS_ABI::train {

/// A trained detector and what belongs to it.
struct TrainedDetector {
  std::vector<std::string> classes;      ///< by number
  bool named = true;                     ///< false: nobody gave them names; they are "class 0", "class 1", ...
  std::unique_ptr<models::Model> owner;  ///< of the model, in inference mode
  const models::Detector* model = nullptr;
  data::Normalize normalize;
  data::ResizeShortLong resize;
  std::string notes;  ///< what loading left out, one line; mostly empty

  /// What is on a picture, best first, in its own pixels.   uint8 [H,W,3] -> at most `top` objects of image 0
  std::vector<tasks::CocoObject> find(const Tensor& picture, int64_t top) const;
};

/// Opens the detector that `source` names by checkpoint, model, weights, model_options, classes and device.
/// @param longer, shorter  bounds of pictures' sides in pixels, as tasks::detection_resize() takes them; 0: as the run
///                         was tested, or for published weights what follows from the model's image size
/// @throws Error for contradictory options, files that do not fit, models that are no detectors, or a wrong number of
/// names.
TrainedDetector open_detector(const ModelSource& source, int64_t longer = 0, int64_t shorter = 0);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/trained_detector-inl.h"
#endif
