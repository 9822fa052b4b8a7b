// How the text of a COCO annotation file becomes its images, categories and objects.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "atlas/data/coco.h"
#include "atlas/data/text.h"
#include "atlas/io/json_reader.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

inline CocoFile::Image coco_image(io::JsonReader& json) {
  CocoFile::Image image;
  bool id = false;
  const auto side = [&] {  // null: not known, as where it is missing
    if (json.peek() != io::JsonReader::Kind::null) return json.integer();
    json.skip();
    return int64_t{0};
  };
  json.object([&](std::string_view key) {
    if (key == "id")
      image.id = json.integer(), id = true;
    else if (key == "width")
      image.width = side();
    else if (key == "height")
      image.height = side();
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
/// @param bad_polygons  those that cannot be drawn are added
inline CocoAnnotation coco_annotation(io::JsonReader& json, int64_t& bad_polygons) {
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
      bad_polygons += polygons.bad;
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

/// Goes through a value, whatever it holds. @throws Error for what is no JSON.
inline void check_json(io::JsonReader& json) {
  switch (json.peek()) {
    case io::JsonReader::Kind::object:
      return json.object([&](std::string_view) { check_json(json); });
    case io::JsonReader::Kind::array:
      return json.array([&] { check_json(json); });
    case io::JsonReader::Kind::string:
      return static_cast<void>(json.string());
    default:
      json.skip();
  }
}
/// The next object goes into the file. What is JSON, but no object that can be used, is counted.
inline void take_annotation(io::JsonReader& json, CocoFile& file) {
  io::JsonReader ahead = json;
  int64_t bad_polygons = 0;
  try {
    file.objects.push_back(coco_annotation(ahead, bad_polygons));
    json = ahead;
    file.counts.bad_polygons += bad_polygons;
  } catch (const Error& e) {
    check_json(json);
    const std::string what = e.what(), behind = file.name + ", ";
    const size_t at = what.find(behind);
    if (++file.counts.unusable == 1)
      file.counts.first_unusable = at == what.npos ? what : what.substr(at + behind.size());
  }
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

/// Objects by position of image and category, by image; odd ones counted and left out.
inline void sort_objects(CocoFile& file) {
  const auto images = coco_positions(file.images, file.name, "image"),
             categories = coco_positions(file.categories, file.name, "category");
  const auto odd = [&](CocoAnnotation& o) {
    const auto image = images.find(o.image), category = categories.find(o.category);
    if (image == images.end()) return ++file.counts.unknown_images, true;
    if (category == categories.end()) return ++file.counts.unknown_categories, true;
    o.image = image->second;
    o.category = category->second;
    const CocoFile::Image& in = file.images[static_cast<size_t>(o.image)];
    const auto inside = box_within(o, in.height, in.width);
    if (!inside) return ++file.counts.empty_boxes, true;
    const std::array<double, 4>& box = *inside;
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
  file.name = name;
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
        take_annotation(json, file);
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
  sort_objects(file);
  return file;
}

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data
