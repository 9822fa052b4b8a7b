// A segmenter with trained weights, and what it takes to show it pictures.
// Not in atlas.h: include it by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "atlas/models/heads/segment.h"
#include "atlas/train/trained_model.h"

namespace atlas::inline ATLAS_ABI::train {

/// A trained segmenter and what belongs to it.
struct TrainedSegmenter {
  std::string name;                          ///< of the preset
  std::vector<std::string> classes;          ///< by number
  std::unique_ptr<models::Segmenter> model;  ///< in inference mode
  Device device;
  data::Transform transform;  ///< from a uint8 image [H,W,3] to what the model sees, of another size
  int64_t crop = 0;           ///< side of the pieces that pictures are cut into, as the run was tested; 0: whole ones
  int64_t stride = 0;         ///< distance of the pieces, as Segmenter::slide()
  std::string notes;          ///< what loading left out, one line; mostly empty

  /// The class of every pixel of a picture, at its own size, on the CPU.   uint8 [H,W,3] -> int64 [H,W]
  Tensor segment(const Tensor& image) const;
};

/// Opens the segmenter that `source` names, as open_model(). Published weights get the published preprocessing: shorter
/// side 512 (the model's), longer at most four times that; source.image_size is another shorter side, or "native".
/// @throws Error for contradictory options, files that do not fit, models that are no segmenters, or a wrong number of
/// names.
TrainedSegmenter open_segmenter(const ModelSource& source);

/// How many pixels of a class map each class has.
struct ClassArea {
  int64_t index = 0, pixels = 0;
  double share = 0;  ///< of all pixels
};
/// The classes that occur, the largest first.   classes int64 [H,W]
std::vector<ClassArea> class_areas(const Tensor& classes);

/// A line of JSON: {"file": ..., "width": ..., "height": ..., "classes": [{"class": 1, "name": ..., "pixels": ...,
/// "share": ...}, ...]}. Bytes that are no UTF-8 are replaced.
std::string areas_to_json(const std::string& file, const Tensor& classes, const std::vector<std::string>& names);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/trained_segmenter-inl.h"
#endif
