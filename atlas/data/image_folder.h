// ImageFolder: a folder with one subfolder of image files per class.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "atlas/data/dataset.h"
#include "atlas/data/image.h"
#include "atlas/ops/select.h"

namespace atlas::inline ATLAS_ABI::data {

struct FolderOptions {
  bool strict = false;         ///< an unreadable file is an error, instead of being reported once, counted and skipped
  double test_fraction = 0.2;  ///< of each class, where the folder has no train/ and val/ (or test/) of its own
  int64_t max_pixels = kMaxImagePixels;
  /// Loaders decode every picture whole, and so find damage anywhere in a file; default: what a crop needs of it.
  bool exact_decode = false;
  std::string class_list = {};  ///< a file (class_list.h): the class folders to use, in its order; empty: all
  /// Told about each unreadable file, once, by whichever thread meets it (one at a time), and about files of other
  /// formats that are left out; default: a line on stderr.
  std::function<void(const std::string& message)> report = {};
};

/// Images that are read from files. One that cannot be read is reported once, counted and skipped, or with
/// options.strict an error.
class FileDataset : public Dataset {
 public:
  ATLAS_INLINE bool skips(int64_t index, const Error& error) const override;
  ATLAS_INLINE bool was_skipped(int64_t index) const override;

 protected:
  FileDataset(std::string name, std::vector<std::string> classes, FolderOptions options);
  /// The pixels of image `index`, undefined when they are skipped. @throws Error with options.strict.
  Tensor read(int64_t index, const std::string& path) const;
  /// "48211 bytes", or "no file"
  static std::string size_of_file(const std::string& path);
  const FolderOptions& options() const { return options_; }

 private:
  FolderOptions options_;
  mutable std::mutex mutex_;
  mutable std::set<int64_t> bad_;  // reported already
};

/// Images of files. Classes are the names of the subfolders, sorted or in the order of a list; files are sorted too, so
/// positions are stable.
class ImageFolder : public FileDataset {
 public:
  struct File {
    std::string path;
    int64_t label;
  };
  ImageFolder(std::string name, std::vector<std::string> classes, std::vector<File> files, FolderOptions options);

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  /// Decodes the file. An unreadable one gives a sample without image, or with options.strict an error.
  ATLAS_INLINE Sample get(int64_t index) const override;
  ATLAS_INLINE Sample open(int64_t index) const override;
  ATLAS_INLINE int64_t label(int64_t index) const override;
  ATLAS_INLINE std::string where(int64_t index) const override;
  ATLAS_INLINE std::string known_of(int64_t index) const override;
  std::string content_of(int64_t index) const override { return size_of_file(where(index)); }
  const std::vector<File>& files() const { return files_; }

 private:
  std::vector<File> files_;
};

/// All images (.jpg, .jpeg, .png, .bmp in any case, at any depth) of a folder's class subfolders.
///
/// Names that start with a dot are left out, and so are files of other formats, which options.report hears of.
/// @param classes the classes to use, each a subfolder or absent; empty = all subfolders
/// @throws Error naming the folder when it is missing, has no images, only one class, a class whose files are all of
/// other formats, or a class that is not in `classes`; with options.class_list, naming its line, for a class without a
/// folder or without images.
std::shared_ptr<const ImageFolder> image_folder(const std::string& path, const FolderOptions& options = {},
                                                const std::vector<std::string>& classes = {});

/// The image files that a user means by a list of files and folders, in that order: a file stands for itself, whatever
/// its name and whether it exists, a folder for all its images at any depth, sorted.
/// @param options  its report hears of files of other formats that are left out
/// @throws Error for a folder without images or that cannot be read.
std::vector<std::string> find_images(const std::vector<std::string>& paths, const FolderOptions& options = {});

/// Training and test images of a folder: its halves, where find_halves() finds them. Else its own class folders are
/// divided, class by class, by a hash of the file names: the division depends on no machine and no seed.
DataPair open_folder(const std::string& path, const FolderOptions& options = {});

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/image_folder-inl.h"
#endif
