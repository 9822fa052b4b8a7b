// The training pipeline cut in two: the host decodes, resizes and draws all random numbers; what is left of the work
// on pixels is one pass on the device, from bytes (kernels/augment.h). The cut is computed from the pipeline.
// Not in atlas.h: include it by name.
#pragma once

#include <optional>
#include <utility>

#include "atlas/data/augment.h"
#include "atlas/ops/augment.h"

namespace atlas::inline ATLAS_ABI::data {

/// The end of a pipeline, as a device does it: the same pictures, up to rounding, as PadAndCrop, RandomFlip, Normalize
/// and RandomErasing one after the other, with the same random numbers.
struct DeviceAugment {
  std::optional<PadAndCrop> place{};  ///< none: images have their size already
  std::optional<RandomFlip> flip{};
  Normalize normalize{};
  std::optional<RandomErasing> erase{};

  /// What is drawn for one image, in the order of the pipeline. Targets are moved at once; the image only becomes
  /// contiguous.
  /// @param sample  its image uint8 [H,W,3], all of a batch of one size
  ImageAugment plan(Sample& sample, Rng& rng) const;
  /// What is done to all images of a batch.
  BatchAugment plan() const;
  /// Height and width of what becomes of images of height x width.
  std::pair<int64_t, int64_t> size_of(int64_t height, int64_t width) const;
};

/// A pipeline cut between host and device.
struct PipelineCut {
  Transform host;
  DeviceAugment device;
};

/// Leaves as much of a pipeline's end to the device as that can do. The rest gives uint8 images on the host.
/// @param pipeline  a Compose, or one transform
/// @return nothing when the device can do nothing: the pipeline does not end in Normalize, or Normalize and
/// RandomErasing
std::optional<PipelineCut> cut_for_device(const Transform& pipeline);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/device_augment-inl.h"
#endif
