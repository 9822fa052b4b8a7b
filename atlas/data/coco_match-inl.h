// Bodies of coco_match.h.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "atlas/core/nearest.h"
#include "atlas/data/coco_match.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// The name of a file, its folder, the folder of that, ...
inline std::vector<std::string> path_from_end(const std::filesystem::path& path) {
  std::vector<std::string> parts;
  for (const auto& part : path.lexically_normal()) parts.push_back(part.string());
  std::reverse(parts.begin(), parts.end());
  return parts;
}

/// How well a name of an annotation file fits a path: the parts that agree; of equals, names that end there go first.
inline std::pair<size_t, bool> agreement(const std::vector<std::string>& name, const std::vector<std::string>& path) {
  size_t n = 0;
  while (n < name.size() && n < path.size() && name[n] == path[n]) ++n;
  return {n, n == name.size()};
}

}  // namespace detail

ATLAS_INLINE std::vector<int64_t> match_pictures(const CocoFile& file, const std::vector<std::string>& pictures,
                                                 const std::string& name) {
  struct Known {
    std::vector<std::string> parts;
    size_t image;
  };
  std::map<std::string, std::vector<Known>> by_name;
  for (size_t i = 0; i < file.images.size(); ++i) {
    std::vector<std::string> parts = detail::path_from_end(file.images[i].file);
    const std::string last = parts.front();
    by_name[last].push_back({std::move(parts), i});
  }
  using Agreement = std::pair<size_t, bool>;
  std::map<size_t, std::map<Agreement, std::vector<size_t>>> wanted;  // by image: pictures, by how well they fit
  for (size_t p = 0; p < pictures.size(); ++p) {
    const std::vector<std::string> path = detail::path_from_end(std::filesystem::absolute(pictures[p]));
    const auto same = by_name.find(path.front());
    if (same == by_name.end()) continue;
    Agreement best{0, false};
    size_t image = 0, other = 0;  // the best, and the last that is as good
    for (const Known& known : same->second) {
      const Agreement agrees = detail::agreement(known.parts, path);
      if (agrees > best) image = known.image;
      if (agrees >= best) best = agrees, other = known.image;
    }
    check(image == other, "coco", "{} could be {} or {} of {}: keep it in a folder of that name, or leave it out",
          pictures[p], file.images[image].file, file.images[other].file, name);
    wanted[image][best].push_back(p);
  }
  std::vector<int64_t> found(pictures.size(), -1);
  for (const auto& [image, rivals] : wanted) {
    const std::vector<size_t>& best = rivals.rbegin()->second;
    check(best.size() == 1, "coco", "{} and {} would both be {} of {}: leave one out", pictures[best[0]],
          pictures[best.back()], file.images[image].file, name);
    found[best[0]] = static_cast<int64_t>(image);
  }
  return found;
}

ATLAS_INLINE void order_categories(CocoFile& file, const std::vector<std::string>& classes, const std::string& name,
                                   const std::string& whose) {
  check(file.categories.size() == classes.size(), "coco", "{} has {} categories, {} {} classes", name,
        file.categories.size(), whose, classes.size());
  std::vector<int64_t> place(classes.size(), -1);  // the class of each category
  std::vector<CocoFile::Category> ordered;
  for (size_t i = 0; i < classes.size(); ++i) {
    size_t k = 0;
    while (k < place.size() && (place[k] >= 0 || file.categories[k].name != classes[i])) ++k;
    if (k == place.size()) {
      std::vector<std::string> names;
      for (const CocoFile::Category& c : file.categories) names.push_back(c.name);
      fail("coco", "{} has no category '{}', which is a class of {}{}", name, classes[i], whose,
           did_you_mean(classes[i], names));
    }
    place[k] = static_cast<int64_t>(i);
    ordered.push_back(file.categories[k]);
  }
  file.categories = std::move(ordered);
  for (CocoAnnotation& o : file.objects) o.category = place[static_cast<size_t>(o.category)];
}

ATLAS_INLINE std::string picture_folder(const CocoFile& file, const std::vector<std::string>& folders) {
  std::string best;
  size_t most = 0;
  for (const std::string& folder : folders) {
    size_t there = 0;
    std::error_code none;
    for (size_t i = 0; i < file.images.size(); i += 1 + file.images.size() / 64)
      there += std::filesystem::exists(folder + "/" + file.images[i].file, none) ? 1 : 0;
    if (there > most) best = folder;
    most = std::max(most, there);
  }
  return best;
}

}  // namespace atlas::inline ATLAS_ABI::data
