// Bodies of coco.h.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <unordered_map>

#include "atlas/data/coco.h"
#include "atlas/data/text.h"
#include "atlas/io/json_reader.h"
#include "atlas/io/mapped_file.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

inline CocoFile::Image coco_image(io::JsonReader& json) {
  CocoFile::Image image;
  bool id = false;
  json.object([&](std::string_view key) {
    if (key == "id")
      image.id = json.integer(), id = true;
    else if (key == "width")
      image.width = json.integer();
    else if (key == "height")
      image.height = json.integer();
    else if (key == "file_name")
      image.file = json.string();
    else
      json.skip();
  });
  if (!id || image.file.empty()) json.bad("an image needs an id and a file_name");
  return image;
}
inline CocoFile::Category coco_category(io::JsonReader& json) {
  CocoFile::Category category;
  bool id = false;
  json.object([&](std::string_view key) {
    if (key == "id")
      category.id = json.integer(), id = true;
    else if (key == "name")
      category.name = json.string();
    else
      json.skip();
  });
  if (!id || category.name.empty()) json.bad("a category needs an id and a name");
  return category;
}
/// Polygons in a segmentation's text that coco_mask() draws, and those that cannot be drawn; run lengths count as one
/// that can. Found without reading a number, for files of half a gigabyte.
struct CocoPolygons {
  int64_t good = 0, bad = 0;
};
inline CocoPolygons coco_polygons(std::string_view text) {
  constexpr const char* kBlanks = " \t\r\n";
  const bool runs = text.front() == '{';
  text = text.substr(1, text.size() - 2);
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return {};
  if (runs) return {1, 0};
  if (text[first] != '[') return {0, 1};  // coordinates in the place of polygons
  CocoPolygons all;
  for (size_t end = text.find(']'); end != text.npos; end = text.find(']')) {
    const size_t begin = text.find('[') + 1;
    const std::string_view polygon = text.substr(begin, end - begin);
    text.remove_prefix(end + 1);
    if (polygon.find_first_not_of(kBlanks) == polygon.npos) continue;
    const auto numbers = std::count(polygon.begin(), polygon.end(), ',') + 1;
    ++(numbers >= 6 && numbers % 2 == 0 ? all.good : all.bad);
  }
  return all;
}
inline CocoAnnotation coco_annotation(io::JsonReader& json, CocoFile::Counts& counts) {
  CocoAnnotation o;
  bool image = false, category = false, box = false, area = false;
  json.object([&](std::string_view key) {
    if (key == "image_id") {
      o.image = json.integer(), image = true;
    } else if (key == "category_id") {
      o.category = json.integer(), category = true;
    } else if (key == "area") {
      o.area = json.number(), area = true;
    } else if (key == "iscrowd") {
      o.crowd = json.peek() == io::JsonReader::Kind::boolean ? json.boolean() : json.integer() != 0;
    } else if (key == "segmentation") {
      const auto kind = json.peek();
      const std::string_view text = json.skip();
      CocoPolygons polygons;
      if (kind == io::JsonReader::Kind::array || kind == io::JsonReader::Kind::object) polygons = coco_polygons(text);
      counts.bad_polygons += polygons.bad;
      o.segmentation = polygons.good > 0 ? text : std::string_view();
    } else if (key == "bbox") {
      size_t n = 0;
      json.array([&] {
        const double v = json.number();
        if (n < 4) o.box[n] = v;
        ++n;
      });
      if (n != 4) json.bad("a bbox has four numbers");
      box = true;
    } else {
      json.skip();
    }
  });
  if (!image || !category || !box) json.bad("an annotation needs image_id, category_id and bbox");
  if (!area) o.area = o.box[2] * o.box[3];
  return o;
}

/// Positions by id. @throws Error when one occurs twice.
template <class T>
std::unordered_map<int64_t, int64_t> coco_positions(std::vector<T>& all, const std::string& name, const char* what) {
  std::sort(all.begin(), all.end(), [](const T& a, const T& b) { return a.id < b.id; });
  std::unordered_map<int64_t, int64_t> positions;
  for (size_t i = 0; i < all.size(); ++i)
    check(positions.emplace(all[i].id, static_cast<int64_t>(i)).second, "coco", "{}: {} id {} occurs twice", name, what,
          all[i].id);
  return positions;
}

/// Left, top, right, bottom cut to the image. @return whether something is left
inline bool clipped_box(const CocoAnnotation& o, const CocoFile::Image& image, std::array<double, 4>& box) {
  const auto w = static_cast<double>(image.width > 0 ? image.width : int64_t{1} << 30),
             h = static_cast<double>(image.height > 0 ? image.height : int64_t{1} << 30);
  box = {std::clamp(o.box[0], 0.0, w), std::clamp(o.box[1], 0.0, h), std::clamp(o.box[0] + o.box[2], 0.0, w),
         std::clamp(o.box[1] + o.box[3], 0.0, h)};
  return o.box[2] > 0 && o.box[3] > 0 && box[2] > box[0] && box[3] > box[1];
}

/// Objects by position of image and category, by image; odd ones counted and left out.
inline void sort_objects(CocoFile& file, const std::string& name) {
  const auto images = coco_positions(file.images, name, "image"),
             categories = coco_positions(file.categories, name, "category");
  const auto odd = [&](CocoAnnotation& o) {
    const auto image = images.find(o.image), category = categories.find(o.category);
    if (image == images.end()) return ++file.counts.unknown_images, true;
    if (category == categories.end()) return ++file.counts.unknown_categories, true;
    o.image = image->second;
    o.category = category->second;
    std::array<double, 4> box{};
    if (!clipped_box(o, file.images[static_cast<size_t>(o.image)], box)) return ++file.counts.empty_boxes, true;
    constexpr double kSlack = 0.01;  // COCO's boxes are rounded to hundredths
    if (box[0] > o.box[0] || box[1] > o.box[1] || box[2] < o.box[0] + o.box[2] - kSlack ||
        box[3] < o.box[1] + o.box[3] - kSlack)
      ++file.counts.clipped_boxes;
    if (o.crowd) ++file.counts.crowds;
    if (o.segmentation.empty()) ++file.counts.without_masks;
    return false;
  };
  file.objects.erase(std::remove_if(file.objects.begin(), file.objects.end(), odd), file.objects.end());
  std::stable_sort(file.objects.begin(), file.objects.end(),
                   [](const CocoAnnotation& a, const CocoAnnotation& b) { return a.image < b.image; });
  file.offsets.assign(file.images.size() + 1, 0);
  for (const CocoAnnotation& o : file.objects) ++file.offsets[static_cast<size_t>(o.image) + 1];
  for (size_t i = 0; i < file.images.size(); ++i) {
    if (file.offsets[i + 1] == 0) ++file.counts.images_without_objects;
    file.offsets[i + 1] += file.offsets[i];
  }
}

/// @param done  told the bytes behind now and then
template <class F>
CocoFile parse_coco_text(std::string_view text, const std::string& name, const F& done) {
  CocoFile file;
  check_utf8(text, name);
  text = without_mark(text);
  io::JsonReader json(text, name);
  bool images = false, objects = false, categories = false;
  json.object([&](std::string_view key) {
    if (key == "images") {
      images = true;
      json.array([&] { file.images.push_back(coco_image(json)); });
    } else if (key == "annotations") {
      objects = true;
      json.array([&] {
        file.objects.push_back(coco_annotation(json, file.counts));
        done(json.position());
      });
    } else if (key == "categories") {
      categories = true;
      json.array([&] { file.categories.push_back(coco_category(json)); });
    } else {
      json.skip();
    }
  });
  json.finish();
  check(images && objects && categories, "coco", "{} has no \"{}\": it is no annotation file of COCO", name,
        !images    ? "images"
        : !objects ? "annotations"
                   : "categories");
  sort_objects(file, name);
  return file;
}

}  // namespace detail

ATLAS_INLINE std::string CocoFile::Counts::str() const {
  std::string all;
  const auto add = [&](int64_t n, const char* what) {
    if (n > 0) all += fmt::format("{}{} {}", all.empty() ? "" : ", ", n, what);
  };
  add(crowds, "crowds");
  add(unknown_images, "objects of images that are not there (left out)");
  add(unknown_categories, "objects of categories that are not there (left out)");
  add(empty_boxes, "boxes without area in their image (left out)");
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
  const CocoFile::Image size{about.id, w, h, {}};
  std::vector<const CocoAnnotation*> objects;
  std::vector<float> boxes, areas;
  for (int64_t k = file_.offsets[i]; k < file_.offsets[i + 1]; ++k) {
    const CocoAnnotation& o = file_.objects[static_cast<size_t>(k)];
    std::array<double, 4> box{};
    if (!detail::clipped_box(o, size, box)) continue;
    objects.push_back(&o);
    for (const double v : box) boxes.push_back(static_cast<float>(v));
    areas.push_back(static_cast<float>(o.area));
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
  if (!masks_) return sample;
  Tensor masks = zeros({n, h, w}, uint8, Device{});
  for (int64_t k = 0; k < n; ++k) {
    const CocoAnnotation& o = *objects[static_cast<size_t>(k)];
    if (o.segmentation.empty()) continue;
    const Tensor one = rle_decode(coco_mask(o.segmentation, h, w, path));
    std::copy(one.data<uint8_t>(), one.data<uint8_t>() + h * w, masks.data<uint8_t>() + k * h * w);
  }
  sample.targets.set("instance_masks", {TargetKind::instance_masks, masks});
  return sample;
}

}  // namespace atlas::inline ATLAS_ABI::data
