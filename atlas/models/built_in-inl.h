// The families that every program knows: one line for each.
#pragma once

#include "atlas/models/detect_families-inl.h"
#include "atlas/models/families-inl.h"
#include "atlas/models/registry.h"
#include "atlas/models/segment_families-inl.h"

namespace atlas::inline ATLAS_ABI::models::detail {

ATLAS_INLINE std::vector<std::unique_ptr<AnyFamily>> built_in_families() {
  std::vector<std::unique_ptr<AnyFamily>> all;
  all.push_back(std::make_unique<Family<AtlasNet>>(atlas_presets()));
  all.push_back(std::make_unique<Family<MambaVision>>(mambavision_presets()));
  all.push_back(std::make_unique<Family<UPerNet<AtlasBackbone>>>(upernet_atlas_presets(atlas_presets())));
  all.push_back(
      std::make_unique<Family<UPerNet<MambaVisionBackbone>>>(upernet_mambavision_presets(mambavision_presets())));
  all.push_back(std::make_unique<Family<CascadeMaskRCNN<MambaVisionBackbone>>>(
      cascade_mambavision_presets(mambavision_presets())));
  return all;
}

}  // namespace atlas::inline ATLAS_ABI::models::detail
