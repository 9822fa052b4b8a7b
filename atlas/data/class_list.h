// Lists of classes: which folders of a large data set are used, and in which order, as HR-IN100 names its hundred.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::data {

/// Names of classes, which are names of folders, in the order of their numbers.
struct ClassList {
  std::string file;  ///< where it stands
  std::vector<std::string> names;
  std::vector<int64_t> lines;              ///< of each name in the file, from 1
  std::vector<std::string> comments = {};  ///< such as "#a", which may be meant as the name of a folder

  /// "in100.txt line 7"
  std::string where(size_t i) const;
};

/// Reads a class list: a name a line. Spaces around names, empty lines, lines that begin with # and a byte-order mark
/// are left out. A backslash before the # makes a line the name of a folder that begins with one.
/// @throws Error naming the file and the line for a name that stands twice, or that is no name of a folder; for a list
/// without names, and a file that cannot be read as text.
ClassList read_class_list(const std::string& path);

/// Holds a list against the subfolders of `folder`.
/// @param there  their names
/// @throws Error naming list, line and the nearest names for a class that the folder lacks; and for a comment that is
/// the name of a folder.
void check_listed(const ClassList& list, const std::string& folder, const std::vector<std::string>& there);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/class_list-inl.h"
#endif
