// Body of transform.h.
#pragma once

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
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data
