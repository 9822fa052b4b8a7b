// Data sets by name, as programs take them on the command line.
#pragma once

#include <string>

#include "atlas/data/dataset.h"
#include "atlas/data/image_folder.h"

namespace atlas::inline ATLAS_ABI::data {

/// Opens `fashion-mnist[:FOLDER]`, `mnist:FOLDER`, `cifar10:FOLDER`, `cifar100:FOLDER`, `folder:FOLDER` or
/// `shapes[:SIZE]` (drawn shapes, 2000 + 500 images of SIZE x SIZE, default 32).
/// @param options used by folder: alone    @throws Error that lists these names for any other.
DataPair open_data(const std::string& what, const FolderOptions& options = {});

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/open-inl.h"
#endif
