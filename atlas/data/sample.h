// Sample: an image and what is known about it. Knowledge is a set of named tensors, each with a kind that says how it
// moves with the image and how batches are made of it; nothing in this room knows a task.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

/// What a target is. Of a batch, values of one shape are stacked; rows of objects are joined, with offsets.
///
/// | kind           | of a sample                                        | of a batch                    |
/// |----------------|----------------------------------------------------|-------------------------------|
/// | label          | class number: int64 [], or [N] for N objects       | [B], or [sum of N], offsets   |
/// | soft_label     | probability of each class: float32 [C]             | [B,C]                         |
/// | number         | any dtype: [], or [N] (crowd flags, areas), [N,K]  | as label                      |
/// | mask           | class number of each pixel: uint8 or int64 [H,W]   | [B,H,W]                       |
/// | boxes          | float32 [N,4]: left, top, right, bottom in pixels  | [sum of N,4], offsets         |
/// | instance_masks | uint8 [N,H,W]: 1 where the object is, 0 elsewhere  | [sum of N,H,W], offsets       |
///
/// An object whose mask is not known has one of zeros alone.
/// Pixel (y, x) covers the square from (x, y) to (x + 1, y + 1). Targets with N rows tell of the same N objects: where
/// a box leaves the image, the rows of that object go from all of them.
enum class TargetKind : uint8_t { label, soft_label, number, mask, boxes, instance_masks };

/// "label", "soft label", "number", "mask", "boxes" or "instance masks"
const char* name(TargetKind kind);

/// Pixels of a mask that count for no class, unless a target says otherwise.
inline constexpr int64_t kIgnored = 255;

/// One thing that is known about an image, or about each image of a batch.
struct Target {
  TargetKind kind = TargetKind::label;
  Tensor value;
  int64_t outside = kIgnored;      ///< of masks: number of the pixels that no class counts for, and of those beyond the
                                   ///< image's border
  std::vector<int64_t> offsets{};  ///< of a batch of objects: image b has the rows offsets[b] .. offsets[b+1]
  bool fixed = false;              ///< of what has places: tells of the picture as it was in its file, whatever becomes
                                   ///< of the image (KeepTruth)

  /// True when the value has one row for each object.
  bool has_rows() const;
  /// True when the value says something about places in the image, and so has to move with it.
  bool has_places() const {
    return !fixed && (kind == TargetKind::mask || kind == TargetKind::boxes || kind == TargetKind::instance_masks);
  }
};

/// Targets by name, in the order in which they were set.
class Targets {
 public:
  using Entry = std::pair<std::string, Target>;

  /// Adds a target, or replaces the one of that name.
  void set(std::string_view name, Target target);
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  /// Null when there is none of that name.
  const Target* find(std::string_view name) const;
  Target* find(std::string_view name);
  /// @throws Error naming the targets that there are, when this is none of them.
  const Target& at(std::string_view name) const;
  /// The value of at(name).
  const Tensor& operator[](std::string_view name) const { return at(name).value; }
  /// "label, boxes", or "none"
  std::string names() const;

  std::vector<Entry>::const_iterator begin() const { return entries_.begin(); }
  std::vector<Entry>::const_iterator end() const { return entries_.end(); }
  std::vector<Entry>::iterator begin() { return entries_.begin(); }
  std::vector<Entry>::iterator end() { return entries_.end(); }
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }

 private:
  std::vector<Entry> entries_;
};

class EncodedImage;

/// An image and its targets.
struct Sample {
  Tensor image;  ///< uint8 [H,W,3]; undefined when the file could not be read and bad files are to be skipped
  Targets targets{};
  /// Set where Dataset::open() left decoding for later: `image` is undefined, and no target has places. The first
  /// transform decodes what it needs of it.
  std::shared_ptr<const EncodedImage> encoded{};
};

/// Name of the target that holds the class of an image.
inline constexpr const char* kLabel = "label";
/// Name of the target that mixing and label smoothing put beside it.
inline constexpr const char* kSoftLabel = "soft_label";

/// Name of the target that holds the class of every pixel.
inline constexpr const char* kMask = "mask";

/// Names of the targets that KeepTruth puts beside boxes: the size of the picture that they tell of.
inline constexpr const char *kOriginalHeight = "original_height", *kOriginalWidth = "original_width";

/// Name of the target that holds boxes as their file has them, for measures: numbers float64 [N,4], left, top, width
/// and height, not cut to the image, in pixels of the picture as it was.
inline constexpr const char* kWrittenBoxes = "written_boxes";

/// An image with its class.
Sample labeled(Tensor image, int64_t label);
/// The class of an image. @throws Error when the sample has no target "label" with one number.
int64_t label_of(const Sample& sample);

/// Checks that every target fits its kind, its image and the others.
/// @param classes  what class numbers are below; 0: not known
/// @throws Error naming the target, its dtype and shape, and what would be right.
void check_targets(const Sample& sample, int64_t classes = 0);

/// Number of objects that the targets with rows tell of, or -1 when there are none.
int64_t objects_of(const Targets& targets);

/// Keeps the objects in `rows` (ascending) in every target that has a row for each.
void keep_objects(Targets& targets, const std::vector<int64_t>& rows);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/sample-inl.h"
#endif
