// What a folder of pictures by class holds: classes, sizes, formats, orientations, broken files and duplicates.
// Not in atlas.h: include it by name.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "atlas/data/image.h"

namespace atlas::inline ATLAS_ABI::data {

struct CardOptions {
  std::string class_list = {};  ///< a file (class_list.h): only these classes; empty: all
  bool decode = false;          ///< decode every picture, which finds more broken ones and takes as long as an epoch
  int64_t max_pixels = kMaxImagePixels;
  /// Told how many files are behind, of how many; by one thread at a time.
  std::function<void(int64_t done, int64_t all)> progress = {};
};

/// One picture of a card.
struct CardFile {
  std::string path;
  int64_t half = 0, label = 0;  ///< positions in DataCard::halves and classes
  int64_t bytes = 0;
  ImageInfo::Format format = ImageInfo::Format::png;
  int64_t width = 0, height = 0;  ///< as shown: after orientation
  int orientation = 1;            ///< EXIF, 1..8
  uint64_t hash = 0;              ///< of its content
  std::string error = {};         ///< why it cannot be read; empty where it can, and the fields above then hold
};

/// Pictures with the same content.
struct Duplicates {
  std::vector<size_t> files;    ///< positions in DataCard::files, two or more
  bool across_halves = false;   ///< a picture of the training half is tested on
  bool across_classes = false;  ///< one picture is said to be two things
};

/// What was found in a folder.
struct DataCard {
  std::string folder;
  std::vector<std::string> halves;   ///< names of the folders with the halves; one empty name: it is not divided
  std::vector<std::string> classes;  ///< sorted, or in the order of the list
  std::vector<CardFile> files;       ///< by half, class and path
  /// Pictures of every class in every half, [half][class], those that cannot be read included.
  std::vector<std::vector<int64_t>> counts;
  std::vector<std::string> left_out;  ///< files of other formats
  std::vector<Duplicates> duplicates;

  /// The pictures that can be read.
  std::vector<const CardFile*> readable() const;
};

/// Smallest, median (the lower one of two) and largest of some numbers.
struct Spread {
  double smallest = 0, median = 0, largest = 0;
  /// @param values  at least one
  static Spread of(std::vector<double> values);
};

/// A bar of a histogram.
struct SizeBar {
  int64_t from = 0, to = 0;  ///< pixels of the shorter side, both included
  int64_t images = 0;
};

/// Looks at every picture of a folder with a subfolder per class, or with two halves (find_halves()) that have them.
///
/// Every file is read once, on all threads: its header, whether it is whole, and a hash of its content. Pictures are
/// not decoded unless asked for.
/// @throws Error for a folder that is missing or holds no picture, halves that cannot be told apart, and for class
/// lists as image_folder(), but empty classes are a part of the card.
DataCard make_data_card(const std::string& folder, const CardOptions& options = {});

/// Shorter sides by powers of two, from the first that occurs to the last.
std::vector<SizeBar> size_histogram(const DataCard& card);

/// The card as lines for people. Of more than 60 classes those with the fewest and the most images are shown.
std::string to_text(const DataCard& card);

/// Pictures of every class, those of a class side by side.
/// @param each  pictures of a class, at most; @param most  pictures in all, at most
/// @return uint8 [H,W,3]    @throws Error when no picture can be read.
Tensor card_sheet(const DataCard& card, int64_t each, int64_t most = 1000);

/// "jpeg", "png" or "bmp".
const char* format_name(ImageInfo::Format format);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/data_card-inl.h"
#endif
