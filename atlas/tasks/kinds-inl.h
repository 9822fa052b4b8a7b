// The tasks that exist from the start.
#pragma once

#include "atlas/tasks/classification_pipeline.h"
#include "atlas/tasks/detection_pipeline.h"
#include "atlas/tasks/registry.h"
#include "atlas/tasks/segmentation_pipeline.h"

namespace atlas::inline ATLAS_ABI::tasks {
// Again, for headers that reach this one through registry.h before they have declared them.
Pipeline segmentation_pipeline(const TaskSettings& settings);
std::unique_ptr<Task> make_segmentation(const data::Dataset& set, const TaskSettings& settings);
}  // namespace atlas::inline ATLAS_ABI::tasks

namespace atlas::inline ATLAS_ABI::tasks::detail {

ATLAS_INLINE std::vector<TaskKind> built_in_tasks() {
  return {
      {"classification", make_classification, classification_pipeline},
      {"segmentation", make_segmentation, segmentation_pipeline},
      {"detection", make_detection, detection_pipeline},
  };
}

}  // namespace atlas::inline ATLAS_ABI::tasks::detail
