// COCO's average precision and recall, for boxes and for masks: the definition of pycocotools' COCOeval with its
// standard parameters.
//
// Lin et al., "Microsoft COCO: Common objects in context", ECCV 2014.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "atlas/data/coco.h"
#include "atlas/data/rle.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// An object of an image, as annotated or as found.
struct CocoObject {
  int64_t image = 0, category = 0;
  std::array<double, 4> box{};  ///< left, top, width, height
  data::Rle mask{};             ///< for the numbers of masks; 0 x 0 where none is annotated
  double score = 0;             ///< of what was found
  double area = 0;              ///< of what is annotated: decides about small, medium and large
  bool crowd = false;           ///< annotated: many objects in one region
};

/// What is compared by.
enum class CocoShape : uint8_t { box, mask };

/// Names of the twelve numbers: AP over IoU 0.50 to 0.95, at 0.50 and at 0.75, of small, medium and large objects; AR
/// with at most 1, 10 and 100 detections per image and category, and of small, medium and large objects.
inline constexpr std::array<const char*, 12> kCocoNames = {"AP",  "AP50", "AP75",  "APs", "APm", "APl",
                                                           "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"};

/// Tables and numbers. What no annotated object counts for is -1.
struct CocoResult {
  static constexpr int64_t kIous = 10, kRecalls = 101, kAreas = 4, kLimits = 3;
  std::array<double, 12> numbers{};
  std::vector<int64_t> categories{};  ///< ascending
  std::vector<double> precision{};    ///< [10 IoUs, 101 recalls, categories, 4 areas, 3 limits]
  std::vector<double> recall{};       ///< [10 IoUs, categories, 4 areas, 3 limits]

  double precision_at(int64_t iou, int64_t recall_step, int64_t category, int64_t area, int64_t limit) const;
  double recall_at(int64_t iou, int64_t category, int64_t area, int64_t limit) const;
  /// AP of one category over all IoUs (iou < 0) or at one of them, of all areas; -1 without objects.
  double category_ap(int64_t category, int64_t iou = -1) const;
  /// The twelve numbers by name, in lines.
  std::string text() const;
};

/// Matches what was found with what is annotated, image by image and category by category, best first. Equal scores
/// keep their order.
///
/// Where masks are compared, annotated objects without one do not count, and finding one, by its box, is neither right
/// nor wrong, as of crowds.
/// @throws Error for masks of an image that differ in size.
CocoResult coco_evaluate(const std::vector<CocoObject>& truths, const std::vector<CocoObject>& found, CocoShape shape);

/// The annotated objects of image `image` of a file, with its id and classes by position: boxes as written, without
/// those that have no area in the picture.
/// @param size   height and width of the picture   @param path  of the picture, for messages
/// @param masks  whether they are drawn, of the picture's size; those that the file lacks, or that have no pixel, stay
///               0 x 0
/// @throws Error naming the picture, when it is of another size than the file says, and file and picture for a bad
/// mask.
std::vector<CocoObject> coco_truths(const data::CocoFile& file, size_t image, const std::array<int64_t, 2>& size,
                                    bool masks, const std::string& path);
/// Whether any of them has a mask.
bool have_masks(const std::vector<CocoObject>& objects);

/// What was found in COCO's format for results, as pycocotools' loadRes() reads it: a JSON array with a line for each
/// object, with its mask where it has one.
/// @param category_ids  of the file that it is about, by class; empty: class 0 has the id 1
std::string coco_results(const std::vector<CocoObject>& found, const std::vector<int64_t>& category_ids = {});

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/coco_metric-inl.h"
#endif
