// Body of transform.h.
#pragma once

#include "atlas/data/encoded_image.h"
#include "atlas/data/transform.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {
ATLAS_INLINE void check_stayed(const Sample& sample, const Tensor& before, const Tensor& now, bool photometric) {
  for (const auto& [key, target] : sample.targets) {
    if (!target.has_places()) continue;
    check(photometric, "transform",
          "{} '{}' ({}) cannot be moved by a function of the image alone: give the transform a geometry(), or "
          "kPhotometric = true when it moves nothing",
          name(target.kind), key, describe(target.value));
    check(now.dim() == 3 && before.dim() == 3 && now.size(0) == before.size(0) && now.size(1) == before.size(1),
          "transform", "a transform that is said to move nothing made {} of {}: {} '{}' ({}) no longer fits",
          describe(now), describe(before), name(target.kind), key, describe(target.value));
  }
}

ATLAS_INLINE void decode(Sample& sample) {
  if (sample.encoded == nullptr) return;
  sample.image = sample.encoded->decode();
  sample.encoded.reset();
}

ATLAS_INLINE std::array<int64_t, 2> encoded_size(const Sample& sample) {
  return {sample.encoded->height(), sample.encoded->width()};
}

ATLAS_INLINE void decode_moved(Sample& sample, const Geometry& geometry) {
  for (const auto& [key, target] : sample.targets)
    check(!target.has_places(), "transform", "{} '{}' has places in an image that is not decoded", name(target.kind),
          key);
  sample.image = sample.encoded->moved(geometry);
  sample.encoded.reset();
}
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data
