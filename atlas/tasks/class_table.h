// Tables of classes for pages: what was recognized of each, and what it was taken for.
// Not in atlas.h: include it by name.
#pragma once

#include <string>
#include <vector>

#include "atlas/tasks/pixel_metrics.h"
#include "atlas/tasks/task.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// Of images with one class each: their number, accuracy, and the class they are most often taken for.
Table class_table(const ConfusionMatrix& confusion, const std::vector<std::string>& names);
/// Of pixels: their share, IoU, accuracy, and the class they are most often taken for.
Table class_table(const PixelConfusion& confusion, const std::vector<std::string>& names);

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/class_table-inl.h"
#endif
