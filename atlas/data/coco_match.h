// What of a COCO annotation file belongs to what a program has: its images to pictures, by the end of their paths, and
// its categories to classes, by name.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atlas/data/coco.h"

namespace atlas::inline ATLAS_ABI::data {

/// The image of each picture, by position in file.images; -1 where the file has none for it.
///
/// The file's names are held against the pictures' absolute paths, from the end, a folder at a time: cam1/1.jpg is
/// /data/cam1/1.jpg rather than /data/cam2/1.jpg. What agrees in more folders goes first; the name alone is enough
/// where nothing else has it.
/// @param name  of the annotation file, for messages
/// @throws Error naming both, where a picture could as well be another image, or an image another picture.
std::vector<int64_t> match_pictures(const CocoFile& file, const std::vector<std::string>& pictures,
                                    const std::string& name);

/// Puts the categories of a file, and what its objects say of them, into the order of `classes`, which have the same
/// names.
/// @param name   of the file, for messages
/// @param whose  classes they are, for messages
/// @throws Error when the file has more or fewer, and for a class that is none of them, with the names nearest to it.
void order_categories(CocoFile& file, const std::vector<std::string>& classes, const std::string& name,
                      const std::string& whose = "the model");

/// The folder that has the most of the file's pictures, judged by some of them: one may be missing, or be somewhere by
/// chance. "" when none has any.
std::string picture_folder(const CocoFile& file, const std::vector<std::string>& folders);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/coco_match-inl.h"
#endif
