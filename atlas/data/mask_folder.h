// Photographs with a mask each: folders in ADE20K's layout, and folders of one's own.
#pragma once

#include <string>
#include <vector>

#include "atlas/data/dataset.h"
#include "atlas/data/image_folder.h"

namespace atlas::inline ATLAS_ABI::data {

/// Pictures with the class of every pixel (target "mask"), read from files when they are asked for.
///
/// Photographs that cannot be read are skipped and counted, as those of ImageFolder; a mask that does not fit is an
/// error that names it, since what is wrong with one is mostly wrong with all.
class MaskFolder : public FileDataset {
 public:
  struct File {
    std::string image, mask;
  };
  /// How numbers in masks become classes.
  enum class Numbers : uint8_t {
    classes,   ///< number k is class k; ignored() is ignored
    from_one,  ///< number k is class k - 1; 0 and ignored() are ignored (ADE20K)
  };
  MaskFolder(std::string name, std::vector<std::string> classes, std::vector<File> files, Numbers numbers,
             FolderOptions options = {});

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  /// @throws Error naming the mask: another size than its photograph, a class that does not exist, colors.
  ATLAS_INLINE Sample get(int64_t index) const override;
  ATLAS_INLINE std::string where(int64_t index) const override;
  /// The number of the pixels that count for no class: 255, or 65535 where that is the number of a class. Masks are
  /// uint8 in the one case, int64 in the other.
  int64_t ignored() const { return num_classes() + first() > kIgnored ? 65535 : kIgnored; }
  ATLAS_INLINE std::string known_of(int64_t index) const override;
  ATLAS_INLINE std::string content_of(int64_t index) const override;

 private:
  int64_t first() const { return numbers_ == Numbers::from_one ? 1 : 0; }  // the number of the first class
  Tensor mask(const File& file, const Tensor& image) const;

  std::vector<File> files_;
  Numbers numbers_;
};

/// Photographs DIR/images/HALF/**/N.jpg with masks DIR/masks/HALF/**/N.png (train and val, or as find_halves() has
/// them) of the class numbers of DIR/classes.json, a list of names (or classes.txt, a name a line). 255 is ignored; of
/// more than 255 classes, whose masks have 16 bits, it is a class, and 65535 is ignored.
/// @throws Error naming what is missing.
DataPair open_masks(const std::string& folder, const FolderOptions& options = {});

/// ADE20K for scene parsing as published (ADEChallengeData2016): images/training, annotations/training, and validation.
/// 150 classes; number 0 (other) is ignored.   @throws Error naming what is missing.
DataPair open_ade20k(const std::string& folder, const FolderOptions& options = {});
/// The names of its classes.
std::vector<std::string> ade20k_classes();

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/mask_folder-inl.h"
#endif
