// Bodies of coco.h.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "atlas/data/coco.h"
#include "atlas/data/coco_parse-inl.h"
#include "atlas/data/text.h"
#include "atlas/io/json_reader.h"
#include "atlas/io/mapped_file.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE std::string CocoFile::Counts::str() const {
  std::string all;
  const auto add = [&](int64_t n, const char* what) {
    if (n > 0) all += fmt::format("{}{} {}", all.empty() ? "" : ", ", n, what);
  };
  add(crowds, "crowds");
  add(unknown_images, "objects of images that are not there (left out)");
  add(unknown_categories, "objects of categories that are not there (left out)");
  add(empty_boxes, "boxes without area in their image (left out)");
  add(unusable, "objects that cannot be used (left out)");
  if (unusable > 0) all += fmt::format(", such as {}", first_unusable);
  add(unread, "images whose annotations cannot be read (left out)");
  if (unread > 0) all += fmt::format(", such as {}", first_unread);
  add(clipped_boxes, "boxes beyond their image (clipped)");
  add(bad_polygons, "polygons of fewer than three corners or an odd number of coordinates (left out)");
  add(without_masks, "objects without a mask");
  add(images_without_objects, "images without objects");
  return all;
}

ATLAS_INLINE CocoFile parse_coco(std::string text, const std::string& name) {
  auto kept = std::make_shared<const std::string>(std::move(text));
  CocoFile file = detail::parse_coco_text(*kept, name, [](size_t) {});
  file.text = std::move(kept);
  return file;
}

ATLAS_INLINE CocoFile read_coco(const std::string& path) {
  auto mapped = std::make_shared<io::MappedFile>(path, "coco");
  const std::string_view text(reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size());
  // Pages that are behind are given back; a mask that is asked for later brings its page again.
  constexpr size_t kStep = size_t{1} << 24;
  size_t given = 0;
  CocoFile file = detail::parse_coco_text(text, path, [&](size_t at) {
    if (at < given + 2 * kStep) return;
    ::madvise(const_cast<char*>(text.data()) + given, kStep, MADV_DONTNEED);
    given += kStep;
  });
  file.text = std::move(mapped);
  return file;
}

ATLAS_INLINE Rle coco_mask(std::string_view segmentation, int64_t height, int64_t width, const std::string& name) {
  const auto named = [&](const auto& mask) {  // polygons and runs know no file
    try {
      return mask();
    } catch (const Error& e) {
      fail("coco", "{}: {}", name, e.what());
    }
  };
  io::JsonReader json(segmentation, name);
  if (json.peek() == io::JsonReader::Kind::array) {
    std::vector<Rle> parts;
    json.array([&] {
      std::vector<double> corners;
      json.array([&] { corners.push_back(json.number()); });
      if (corners.size() >= 6 && corners.size() % 2 == 0)
        parts.push_back(named([&] { return rle_from_polygon(corners, height, width); }));
    });
    if (!parts.empty()) return rle_union(parts);
    Rle none{height, width};
    if (height * width > 0) none.counts = {static_cast<uint32_t>(height * width)};
    return none;
  }
  std::string text;
  std::vector<uint32_t> counts;
  std::vector<int64_t> size;
  bool numbers = false;
  json.object([&](std::string_view key) {
    if (key == "size") {
      json.array([&] { size.push_back(json.integer()); });
    } else if (key == "counts" && json.peek() == io::JsonReader::Kind::array) {
      numbers = true;
      json.array([&] {
        const int64_t n = json.integer();
        if (n < 0 || n > int64_t{0xFFFFFFFF}) json.bad("is no length of a run");
        counts.push_back(static_cast<uint32_t>(n));
      });
    } else if (key == "counts") {
      text = json.string();
    } else {
      json.skip();
    }
  });
  check(size == std::vector<int64_t>{height, width}, "coco", "{}: a mask's size is not that of its image, {} x {}",
        name, height, width);
  return named([&] {
    return numbers ? rle_from_counts(std::move(counts), height, width) : rle_from_string(text, height, width);
  });
}

ATLAS_INLINE std::optional<std::array<double, 4>> box_within(const CocoAnnotation& o, int64_t height, int64_t width) {
  const auto w = static_cast<double>(width > 0 ? width : int64_t{1} << 30),
             h = static_cast<double>(height > 0 ? height : int64_t{1} << 30);
  const std::array<double, 4> box{std::clamp(o.box[0], 0.0, w), std::clamp(o.box[1], 0.0, h),
                                  std::clamp(o.box[0] + o.box[2], 0.0, w), std::clamp(o.box[1] + o.box[3], 0.0, h)};
  const bool some = o.box[2] > 0 && o.box[3] > 0 && box[2] > box[0] && box[3] > box[1];
  return some ? std::optional(box) : std::nullopt;
}

ATLAS_INLINE void check_picture_size(const CocoFile::Image& about, int64_t height, int64_t width,
                                     const std::string& path) {
  check((about.height <= 0 || about.height == height) && (about.width <= 0 || about.width == width), "coco",
        "{} has {} x {} pixels, its annotations say {} x {}", path, height, width, about.height, about.width);
}

ATLAS_INLINE CocoDataset::CocoDataset(std::string name, CocoFile file, std::string folder, bool with_objects_alone,
                                      FolderOptions options)
    : FileDataset(std::move(name), {}, std::move(options)),
      file_(std::move(file)),
      folder_(std::move(folder)),
      masks_(false) {
  for (const auto& category : file_.categories) classes_.push_back(category.name);
  for (const CocoAnnotation& o : file_.objects) masks_ = masks_ || !o.segmentation.empty();
  for (size_t i = 0; i < file_.images.size(); ++i) {
    const auto begin = file_.objects.begin() + file_.offsets[i], end = file_.objects.begin() + file_.offsets[i + 1];
    if (!with_objects_alone || std::any_of(begin, end, [](const CocoAnnotation& o) { return !o.crowd; }))
      chosen_.push_back(static_cast<int64_t>(i));
  }
}

ATLAS_INLINE int64_t CocoDataset::label(int64_t index) const {
  fail("coco", "{} is of no single class: {} has objects", where(index), name_);
}
ATLAS_INLINE std::string CocoDataset::where(int64_t index) const {
  check_index(index);
  return folder_ + "/" + file_.images[static_cast<size_t>(chosen_[static_cast<size_t>(index)])].file;
}
ATLAS_INLINE int64_t CocoDataset::image_id(int64_t index) const {
  check_index(index);
  return file_.images[static_cast<size_t>(chosen_[static_cast<size_t>(index)])].id;
}

ATLAS_INLINE Sample CocoDataset::get(int64_t index) const {
  const std::string path = where(index);
  const auto i = static_cast<size_t>(chosen_[static_cast<size_t>(index)]);
  const CocoFile::Image& about = file_.images[i];
  Sample sample;
  sample.image = read(index, path);
  if (!sample.image.defined()) return sample;
  const int64_t h = sample.image.size(0), w = sample.image.size(1);
  check_picture_size(about, h, w, path);
  std::vector<const CocoAnnotation*> objects;
  std::vector<float> boxes;
  std::vector<double> areas, written;
  for (int64_t k = file_.offsets[i]; k < file_.offsets[i + 1]; ++k) {
    const CocoAnnotation& o = file_.objects[static_cast<size_t>(k)];
    const auto box = box_within(o, h, w);
    if (!box) continue;
    objects.push_back(&o);
    for (const double v : *box) boxes.push_back(static_cast<float>(v));
    areas.push_back(o.area);
    written.insert(written.end(), o.box.begin(), o.box.end());
  }
  const int64_t n = std::ssize(objects);
  Tensor labels = empty({n}, int64, Device{}), crowd = empty({n}, int64, Device{});
  for (int64_t k = 0; k < n; ++k) {
    labels.data<int64_t>()[k] = objects[static_cast<size_t>(k)]->category;
    crowd.data<int64_t>()[k] = objects[static_cast<size_t>(k)]->crowd ? 1 : 0;
  }
  sample.targets.set("boxes", {TargetKind::boxes, from_vector(boxes, {n, 4}, Device{})});
  sample.targets.set(kLabel, {TargetKind::label, labels});
  sample.targets.set("crowd", {TargetKind::number, crowd});
  sample.targets.set("area", {TargetKind::number, from_vector(areas, {n}, Device{})});
  sample.targets.set(kWrittenBoxes, {TargetKind::number, from_vector(written, {n, 4}, Device{})});
  if (!masks_) return sample;
  Tensor masks = zeros({n, h, w}, uint8, Device{});
  for (int64_t k = 0; k < n; ++k) {
    const CocoAnnotation& o = *objects[static_cast<size_t>(k)];
    if (o.segmentation.empty()) continue;
    const Tensor one = rle_decode(coco_mask(o.segmentation, h, w, file_.mask_of(about)));
    std::copy(one.data<uint8_t>(), one.data<uint8_t>() + h * w, masks.data<uint8_t>() + k * h * w);
  }
  sample.targets.set("instance_masks", {TargetKind::instance_masks, masks});
  return sample;
}

}  // namespace atlas::inline ATLAS_ABI::data
