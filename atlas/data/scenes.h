// Drawn scenes: several shapes on a ground, with the class of every pixel or with a box and a mask for every object,
// for tests and first steps without files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atlas/data/dataset.h"

namespace atlas::inline ATLAS_ABI::data {

/// What is known about a scene.
enum class SceneTruth : uint8_t {
  pixels,   ///< target "mask": 0 background, then the shapes
  objects,  ///< targets "boxes", "label" and "instance_masks", a row for each shape that can be seen
};

/// One to three shapes (circle, square, triangle, cross, ...) of random size, turn and color on a ground of two colors,
/// the later over the earlier, with noise. Scene i depends on (seed, i) alone.
class Scenes : public Dataset {
 public:
  /// @param size        scenes
  /// @param image_size  side of the square images, 32..16384
  /// @param shapes      kinds of shapes, 2..8
  Scenes(int64_t size, int64_t image_size, SceneTruth truth, int64_t shapes = 4, uint64_t seed = 0);

  int64_t size() const override { return size_; }
  ATLAS_INLINE Sample get(int64_t index) const override;

 private:
  int64_t size_, side_, shapes_;
  SceneTruth truth_;
  uint64_t seed_;
};

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/scenes-inl.h"
#endif
