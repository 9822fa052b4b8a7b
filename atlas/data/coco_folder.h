// A folder of COCO's layout as a pair of data sets.
#pragma once

#include <string>

#include "atlas/data/coco.h"

namespace atlas::inline ATLAS_ABI::data {

/// DIR/annotations/instances_train2017.json with DIR/train2017 and the same for val (any year), or DIR/train.json and
/// DIR/val.json with pictures in DIR/images/train, DIR/train or DIR/images. Images without objects are left out of
/// training.
/// @throws Error naming what was looked for, and when the halves have other categories.
DataPair open_coco(const std::string& folder, const FolderOptions& options = {});

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/coco_folder-inl.h"
#endif
