// Bodies of voc.h.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "atlas/data/coco-inl.h"
#include "atlas/data/find_file.h"
#include "atlas/data/text.h"
#include "atlas/data/voc.h"
#include "atlas/io/xml_reader.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// In their published order, which is that of the alphabet.
inline const std::set<std::string>& voc_classes() {
  static const std::set<std::string> all{
      "aeroplane",   "bicycle", "bird",  "boat",      "bottle", "bus",         "car",   "cat",  "chair", "cow",
      "diningtable", "dog",     "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"};
  return all;
}

/// None for what is no number of pixels.
inline std::optional<double> voc_number(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  const bool good = !copy.empty() && end == copy.c_str() + copy.size() && std::abs(value) < 1e9;
  return good ? std::optional(value) : std::nullopt;
}

/// The two halves, the annotations of each by id.
struct VocHalf {
  std::string list;  // the file with the ids
  std::vector<std::string> ids;
  std::vector<VocAnnotation> annotations;
  int64_t left_out = 0;        // pictures whose annotations cannot be read
  std::string first_left_out;  // of these: why
};

/// @param strict  an annotation file that cannot be read is an error
inline VocHalf read_voc_half(const std::string& folder, const std::string& list, bool strict) {
  VocHalf half{list, {}, {}, 0, {}};
  std::set<std::string> seen;
  for (const std::string& line : read_lines(list)) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == line.npos) continue;
    const std::string id =
        line.substr(begin, line.find_first_of(" \t", begin) - begin);  // a class's list has 1 or -1 too
    check(id.find('/') == id.npos, "voc", "{}: '{}' is no id of a picture", list, id);
    check(seen.insert(id).second, "voc", "{}: '{}' occurs twice", list, id);
    const std::string file = fmt::format("{}/Annotations/{}.xml", folder, id);
    try {
      half.annotations.push_back(parse_voc(read_text(file, int64_t{1} << 24), file));
      half.ids.push_back(id);
    } catch (const Error& e) {
      if (strict) throw;
      if (++half.left_out == 1) half.first_left_out = e.what();
    }
  }
  check(!seen.empty(), "voc", "{} lists no picture", list);
  check(!half.ids.empty(), "voc", "none of the {} annotation files that {} lists can be read, such as {}",
        half.left_out, list, half.first_left_out);
  return half;
}

/// The picture of an annotation, which may lie about its name.
inline std::string voc_picture(const std::string& folder, const std::string& id, const VocAnnotation& a) {
  namespace fs = std::filesystem;
  std::vector<std::string> names;
  for (const char* ending : {".jpg", ".jpeg", ".png", ".JPG", ".bmp"}) names.push_back(id + ending);
  if (const std::string own = fs::path(a.file).filename().string(); !own.empty()) names.push_back(own);
  for (const std::string& name : names) {
    std::error_code ignored;
    if (fs::exists(folder + "/JPEGImages/" + name, ignored)) return name;
  }
  return names.front();  // reading it says that it is missing
}

inline CocoFile voc_as_coco(const VocHalf& half, const std::string& folder, const std::vector<std::string>& classes) {
  CocoFile file;
  file.name = half.list;
  file.counts.unread = half.left_out;
  file.counts.first_unread = half.first_left_out;
  std::map<std::string, int64_t> position;
  for (const std::string& name : classes) {
    position[name] = std::ssize(file.categories);
    file.categories.push_back({std::ssize(file.categories), name});
  }
  for (size_t i = 0; i < half.ids.size(); ++i) {
    const VocAnnotation& a = half.annotations[i];
    if (a.unusable > 0 && file.counts.unusable == 0) file.counts.first_unusable = a.first_unusable;
    file.counts.unusable += a.unusable;
    file.images.push_back({static_cast<int64_t>(i), a.width, a.height, voc_picture(folder, half.ids[i], a)});
    for (const VocAnnotation::Object& o : a.objects) {
      const double w = o.box[2] - o.box[0], h = o.box[3] - o.box[1];
      file.objects.push_back({.image = static_cast<int64_t>(i),
                              .category = position.at(o.name),
                              .box = {o.box[0], o.box[1], w, h},
                              .area = w * h,
                              .crowd = o.difficult});
    }
  }
  sort_objects(file);
  return file;
}

}  // namespace detail

ATLAS_INLINE VocAnnotation parse_voc(std::string_view text, const std::string& name) {
  VocAnnotation a;
  std::array<bool, 4> sides{};
  bool root = false;
  int64_t objects = 0;
  std::string wrong;  // with the object
  const auto number = [&](std::string_view content, std::string_view path) {
    const std::optional<double> n = detail::voc_number(content);
    if (!n && wrong.empty())
      wrong = fmt::format("<{}> is '{}', no number of pixels", path.substr(path.rfind('/') + 1), content.substr(0, 40));
    return n.value_or(0);
  };
  static constexpr std::array<std::string_view, 4> kSides = {"xmin", "ymin", "xmax", "ymax"};
  constexpr std::string_view kBox = "annotation/object/bndbox/";
  io::XmlEvents events;
  events.open = [&](std::string_view path) {
    root = root || path == "annotation";
    if (path == "annotation/object") a.objects.emplace_back(), sides = {}, wrong.clear(), ++objects;
  };
  events.close = [&](std::string_view path, std::string_view content) {
    if (path == "annotation/filename") {
      a.file = content;
    } else if (path == "annotation/size/width" || path == "annotation/size/height") {
      const double n = detail::voc_number(content).value_or(0);
      (path.ends_with("width") ? a.width : a.height) = std::max<int64_t>(static_cast<int64_t>(n), 0);
    } else if (path == "annotation/object/name") {
      a.objects.back().name = content;
    } else if (path == "annotation/object/difficult") {
      a.objects.back().difficult = !content.empty() && content != "0";
    } else if (path.starts_with(kBox)) {
      for (size_t i = 0; i < 4; ++i)
        if (path.substr(kBox.size()) == kSides[i]) {
          // Pixel 1 begins at 0; the last pixel ends at its own number.
          a.objects.back().box[i] = number(content, path) - (i < 2 ? 1 : 0);
          sides[i] = true;
        }
    } else if (path == "annotation/object") {
      const std::string& what = a.objects.back().name;
      if (wrong.empty() && what.empty()) wrong = "no name";
      if (wrong.empty() && std::count(sides.begin(), sides.end(), true) < 4) wrong = "no box (bndbox)";
      if (wrong.empty()) return;
      if (++a.unusable == 1)
        a.first_unusable = fmt::format("{}: object {}{}{}: {}", name, objects, what.empty() ? "" : ", ", what, wrong);
      a.objects.pop_back();
    }
  };
  io::read_xml(text, name, events);
  check(root, "voc", "{} is no annotation of VOC: its outermost element is not <annotation>", name);
  return a;
}

ATLAS_INLINE DataPair open_voc(const std::string& given, const FolderOptions& options) {
  namespace fs = std::filesystem;
  const std::string folder = folder_with(given, {"Annotations"}, "voc");
  if (folder.empty()) fail_missing("voc", given, {"Annotations"}, "beside ImageSets/Main and JPEGImages");
  std::vector<std::string> lists;
  for (const auto& [train, test] : {std::pair{"train", "val"}, {"trainval", "test"}, {"train", "test"}}) {
    std::error_code ignored;
    const auto list = [&](const char* split) { return fmt::format("{}/ImageSets/Main/{}.txt", folder, split); };
    if (lists.empty() && fs::exists(list(train), ignored) && fs::exists(list(test), ignored))
      lists = {list(train), list(test)};
  }
  check(!lists.empty(), "voc", "{}/ImageSets/Main has neither train.txt and val.txt nor trainval.txt and test.txt",
        folder);
  const detail::VocHalf train = detail::read_voc_half(folder, lists[0], options.strict),
                        test = detail::read_voc_half(folder, lists[1], options.strict);
  std::set<std::string> names;
  for (const detail::VocHalf* half : {&train, &test})
    for (const VocAnnotation& a : half->annotations)
      for (const auto& o : a.objects) names.insert(o.name);
  const std::set<std::string>& known = detail::voc_classes();
  if (std::includes(known.begin(), known.end(), names.begin(), names.end())) names = known;
  const std::vector<std::string> classes(names.begin(), names.end());
  const auto set = [&](const char* name, const detail::VocHalf& half, bool with_objects_alone) {
    CocoFile file = detail::voc_as_coco(half, folder, classes);
    const std::string odd = file.counts.str();
    const auto made =
        std::make_shared<CocoDataset>(name, std::move(file), folder + "/JPEGImages", with_objects_alone, options);
    check(made->size() > 0, "voc", "{} lists no picture with objects to learn from{}", half.list,
          odd.empty() ? "" : ": " + odd);
    return made;
  };
  return {set("voc train", train, true), set("voc val", test, false)};
}

}  // namespace atlas::inline ATLAS_ABI::data
