// Data sets in COCO's format: pictures, and a JSON file with their objects' boxes, classes and masks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/core/hash.h"
#include "atlas/data/dataset.h"
#include "atlas/data/image.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/rle.h"

namespace atlas::inline ATLAS_ABI::data {

/// One object of an annotation file.
struct CocoAnnotation {
  int64_t image = 0;            ///< position in CocoFile::images
  int64_t category = 0;         ///< position in CocoFile::categories
  std::array<double, 4> box{};  ///< left, top, width, height, as written
  double area = 0;
  bool crowd = false;
  std::string_view segmentation{};  ///< its text in the file; empty where that draws nothing: no mask
};

/// What a COCO annotation file says. Masks stay text until they are wanted.
struct CocoFile {
  struct Image {
    int64_t id = 0, width = 0, height = 0;
    std::string file{};
  };
  struct Category {
    int64_t id = 0;
    std::string name{};
  };
  /// What was found odd, and is left out.
  struct Counts {
    int64_t crowds = 0;          ///< kept
    int64_t unknown_images = 0;  ///< objects of images that are not there
    int64_t unknown_categories = 0;
    int64_t empty_boxes = 0;       ///< of no or negative width or height, or outside their image
    int64_t clipped_boxes = 0;     ///< kept: beyond their image's border
    int64_t bad_polygons = 0;      ///< of fewer than three corners, or an odd number of coordinates
    int64_t unusable = 0;          ///< objects with a field that is missing or of another kind, such as "bbox": null
    std::string first_unusable{};  ///< of these: where it stands, and why
    int64_t unread = 0;            ///< images of VOC whose own annotation file is missing or broken
    std::string first_unread{};    ///< of these: why
    int64_t without_masks = 0;     ///< kept: objects without a segmentation, or of which no polygon is left
    int64_t images_without_objects = 0;
    /// "3 boxes without area, ..." or "" when there is nothing odd
    std::string str() const;
  };
  std::string name{};                     ///< of the file, for messages
  std::vector<Image> images{};            ///< by id
  std::vector<Category> categories{};     ///< by id
  std::vector<CocoAnnotation> objects{};  ///< by image, in the order of the file
  std::vector<int64_t> offsets{};         ///< image i has the objects offsets[i] .. offsets[i + 1]
  Counts counts{};
  std::shared_ptr<const void> text{};  ///< keeps what `segmentation` points to

  /// "FILE, mask of an object of IMAGE"
  std::string mask_of(const Image& image) const { return name + ", mask of an object of " + image.file; }
};

/// Reads an annotation file, of any size: only what is above stays in memory.
/// @throws Error naming the file, the byte and the reason for what is no JSON, is cut off, or lacks images, annotations
/// or categories; for images without id and file_name, categories without id and name; and for ids that occur twice.
CocoFile read_coco(const std::string& path);
/// The same from text, which the result keeps.
CocoFile parse_coco(std::string text, const std::string& name);

/// The mask of a segmentation's text: polygons, or run lengths as text or numbers. Polygons that Counts::bad_polygons
/// tells of draw nothing.
/// @param name  of the file and picture, for messages: CocoFile::mask_of()
/// @throws Error naming them, for what read_coco() would not take, and for runs that do not fit its size.
Rle coco_mask(std::string_view segmentation, int64_t height, int64_t width, const std::string& name);

/// Left, top, right and bottom of an object, cut to a picture; 0: a side is not known. None where no area is left.
std::optional<std::array<double, 4>> box_within(const CocoAnnotation& o, int64_t height, int64_t width);

/// Makes sure that a picture is the one that was annotated.
/// @throws Error naming the picture, when the file gives it another size than it has; a file may give none.
void check_picture_size(const CocoFile::Image& about, int64_t height, int64_t width, const std::string& path);

/// Images of a COCO annotation file. Targets, a row for each object: "boxes", "label", "crowd", "area" and
/// kWrittenBoxes (numbers), and where the file has a mask for at least one object "instance_masks", zeros for objects
/// without. Boxes are cut to their image, and kWrittenBoxes are not; those without area are left out.
class CocoDataset : public FileDataset {
 public:
  /// Photographs that cannot be read are skipped and counted, or with options.strict an error.
  /// @param folder  of the pictures   @param with_objects_alone  leaves out images without objects (crowds do not
  /// count)
  CocoDataset(std::string name, CocoFile file, std::string folder, bool with_objects_alone = false,
              FolderOptions options = {});

  int64_t size() const override { return std::ssize(chosen_); }
  /// @throws Error naming the file that cannot be read (with options.strict), is of another size than the annotations
  /// say, or has a bad mask.
  ATLAS_INLINE Sample get(int64_t index) const override;
  /// An image with objects has no class of its own. @throws Error always.
  ATLAS_INLINE int64_t label(int64_t index) const override;
  ATLAS_INLINE std::string where(int64_t index) const override;
  std::string known_of(int64_t index) const override {
    std::string known = where(index);
    const auto i = static_cast<size_t>(chosen_[static_cast<size_t>(index)]);
    for (int64_t k = file_.offsets[i]; k < file_.offsets[i + 1]; ++k) {
      const CocoAnnotation& o = file_.objects[static_cast<size_t>(k)];
      known += " " + std::to_string(o.category) + (o.crowd ? " crowd " : " ") + std::to_string(fnv1a64(o.segmentation));
      for (const double v : o.box) known += " " + std::to_string(v);
    }
    return known;
  }
  std::string remarks() const override { return file_.counts.str(); }
  std::string content_of(int64_t index) const override { return size_of_file(where(index)); }
  const CocoFile& file() const { return file_; }
  /// COCO's id of image `index`.
  int64_t image_id(int64_t index) const;

 private:
  CocoFile file_;
  std::string folder_;
  bool masks_;
  std::vector<int64_t> chosen_;
};

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/coco-inl.h"
#endif
