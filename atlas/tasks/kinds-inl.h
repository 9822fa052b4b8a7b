// The tasks that exist from the start.
#pragma once

#include "atlas/tasks/classification_pipeline.h"
#include "atlas/tasks/registry.h"
#include "atlas/tasks/segmentation_pipeline.h"

namespace atlas::inline ATLAS_ABI::tasks::detail {

ATLAS_INLINE std::vector<TaskKind> built_in_tasks() {
  return {
      {"classification", make_classification, classification_pipeline},
      {"segmentation", make_segmentation, segmentation_pipeline},
  };
}

}  // namespace atlas::inline ATLAS_ABI::tasks::detail
