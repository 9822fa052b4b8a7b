// Data sets by name, as programs take them on the command line. A source is one line in open-inl.h, or registered.
#pragma once

#include <string>
#include <vector>

#include "atlas/data/dataset.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/transform.h"

namespace atlas::inline ATLAS_ABI::data {

/// A kind of data set that can be named: what stands before the colon.
struct Source {
  std::string usage;  ///< how to name it, such as "cifar10:FOLDER" or "shapes[:SIZE]"; its name ends at "[" or ":"
  /// @param where    what stands after the colon; may be empty
  /// @param options  of folders, whatever they hold
  DataPair (*open)(const std::string& where, const FolderOptions& options) = nullptr;
  Normalize normalize = {};  ///< channel means and deviations of its pixels
  bool class_list = false;   ///< takes FolderOptions::class_list

  std::string name() const { return usage.substr(0, usage.find_first_of("[:")); }
};

/// Makes a kind of data set known to open_data(). Register before threads start.
/// @throws Error when its name is empty or taken.
void register_source(Source source);

/// How every source is named, for help and messages: "fashion-mnist[:FOLDER], mnist:FOLDER, ... and shapes[:SIZE]".
std::string source_usages();

/// Opens `fashion-mnist[:FOLDER]`, `mnist:FOLDER`, `cifar10:FOLDER`, `cifar100:FOLDER`, `folder:FOLDER`,
/// `shapes[:SIZE]` (drawn shapes, 2000 + 500 images of SIZE x SIZE, default 32), `scenes[:SIZE]` (several shapes with a
/// class for every pixel, 1000 + 200 images, default 64), `ade20k:FOLDER` and `masks:FOLDER` (photographs with masks,
/// mask_folder.h), or what was registered.
/// @param options  of folders
/// @throws Error that lists these names for any other, and for a class list where the source takes none.
DataPair open_data(const std::string& what, const FolderOptions& options = {});

/// Channel means and standard deviations of a data set named as in open_data(), of all sources whose names begin alike
/// ("cifar"), or of ImageNet where there is no better answer.
Normalize normalization_of(const std::string& what);

namespace detail {
/// What stands after the colon. @throws Error when there is nothing.
const std::string& needed_folder(const std::string& source, const std::string& where);
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/open-inl.h"
#endif
