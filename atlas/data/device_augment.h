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
  ImageAugment plan(Sample& sample, Rng& rng) const {
    sample.image = as_image(sample.image, "DeviceAugment");
    const Tensor& image = sample.image;
    check(image.dtype() == uint8 && image.size(2) == 3, "DeviceAugment", "needs uint8 images [H,W,3], got {}",
          describe(image));
    ImageAugment a;
    std::vector<Geometry::Move> moves;
    auto [height, width] = size_of(image.size(0), image.size(1));
    if (place) {
      const Crop piece = place->place(image, rng);
      a.top = piece.top;
      a.left = piece.left;
      moves.emplace_back(piece);
    }
    if (flip && rng.chance(flip->p)) {
      a.mirror = 1;
      moves.emplace_back(Mirror{});
    }
    Geometry(std::move(moves)).apply(sample.targets, image.size(0), image.size(1));
    if (!erase) return a;
    if (const auto box = erase->sample(height, width, rng)) {
      a.erase_top = box->top;
      a.erase_left = box->left;
      a.erase_height = box->height;
      a.erase_width = box->width;
      const Rng::Place noise = rng.place();
      a.seed = noise.seed;
      a.stream = noise.stream;
      a.counter = noise.counter;
      a.word = noise.word;
    }
    return a;
  }
  /// What is done to all images of a batch.
  BatchAugment plan() const {
    BatchAugment b;
    for (size_t c = 0; c < 3; ++c) {
      b.scale[c] = (1.0f / 255.0f) / normalize.std[c];
      b.shift[c] = normalize.mean[c] / normalize.std[c];
    }
    return b;
  }
  /// Height and width of what becomes of images of height x width.
  std::pair<int64_t, int64_t> size_of(int64_t height, int64_t width) const {
    return {place && place->height > 0 ? place->height : height, place && place->width > 0 ? place->width : width};
  }
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
inline std::optional<PipelineCut> cut_for_device(const Transform& pipeline) {
  const Compose* all = pipeline.get<Compose>();
  std::vector<Transform> steps = all != nullptr ? all->steps : std::vector<Transform>{pipeline};
  DeviceAugment device;
  const auto take = [&](auto& into) {
    using T = typename std::decay_t<decltype(into)>::value_type;
    const T* last = steps.empty() ? nullptr : steps.back().template get<T>();
    if (last == nullptr) return false;
    into = *last;
    steps.pop_back();
    return true;
  };
  take(device.erase);
  std::optional<Normalize> normalize;
  if (!take(normalize)) return {};
  device.normalize = *normalize;
  take(device.flip);
  take(device.place);
  return PipelineCut{Compose{std::move(steps)}, device};
}

}  // namespace atlas::inline ATLAS_ABI::data
