// Data sets in Pascal VOC's layout: pictures, and an XML file for each with its objects' boxes and classes.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/data/coco.h"

namespace atlas::inline ATLAS_ABI::data {

/// One annotation file.
struct VocAnnotation {
  struct Object {
    std::string name;
    std::array<double, 4> box{};  ///< left, top, right, bottom; edges, counted from 0
    bool difficult = false;
  };
  std::string file;               ///< of the picture, as written
  int64_t width = 0, height = 0;  ///< 0 where it does not say
  std::vector<Object> objects;
  int64_t unusable = 0;        ///< objects left out: without a name or a box, or with numbers that are none
  std::string first_unusable;  ///< of these: file and object, and why
};

/// Reads an annotation file held in memory. Pixels in it count from 1 and both ends belong to a box; parts of objects,
/// poses and everything else are passed over.
/// @throws Error naming the file, and the byte or the element, for what is no annotation of VOC or no XML, and what is
///         cut off.
VocAnnotation parse_voc(std::string_view text, const std::string& name);

/// DIR/Annotations/ID.xml and DIR/JPEGImages, for the ids that DIR/ImageSets/Main lists in train.txt and val.txt (or
/// trainval.txt and test.txt, where those are missing). DIR may be a folder above (VOCdevkit).
///
/// Targets are those of CocoDataset without masks. Objects marked difficult are its crowds: no loss and no result
/// counts them, and what is found on them is no mistake. Classes are VOC's twenty where no other occurs, else the names
/// that occur in either half, sorted. Images without objects are left out of training; those whose annotations are
/// missing or cannot be read, of both halves, and counted (with options.strict: an error), as objects that cannot be
/// used.
/// @throws Error naming what was looked for, the list that is wrong, or a file where no annotations of a list can be
/// read.
DataPair open_voc(const std::string& folder, const FolderOptions& options = {});

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/voc-inl.h"
#endif
