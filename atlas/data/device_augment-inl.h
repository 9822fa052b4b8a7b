// Bodies of device_augment.h.
#pragma once

#include <optional>
#include <utility>

#include "atlas/data/augment.h"
#include "atlas/data/device_augment.h"
#include "atlas/ops/augment.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE ImageAugment DeviceAugment::plan(Sample& sample, Rng& rng) const {
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

ATLAS_INLINE BatchAugment DeviceAugment::plan() const {
  BatchAugment b;
  for (size_t c = 0; c < 3; ++c) {
    b.scale[c] = (1.0f / 255.0f) / normalize.std[c];
    b.shift[c] = normalize.mean[c] / normalize.std[c];
  }
  return b;
}

ATLAS_INLINE std::pair<int64_t, int64_t> DeviceAugment::size_of(int64_t height, int64_t width) const {
  return {place && place->height > 0 ? place->height : height, place && place->width > 0 ? place->width : width};
}

ATLAS_INLINE std::optional<PipelineCut> cut_for_device(const Transform& pipeline) {
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
