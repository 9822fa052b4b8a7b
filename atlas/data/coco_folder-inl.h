// Bodies of coco_folder.h.
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "atlas/data/coco_folder.h"
#include "atlas/data/coco_match.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE DataPair open_coco(const std::string& folder, const FolderOptions& options) {
  namespace fs = std::filesystem;
  check(fs::is_directory(folder), "coco", "{} is no folder", folder);
  const auto half = [&](const std::string& split, const Dataset* train) -> DatasetPtr {
    std::string annotations, year;
    std::error_code none;
    if (fs::exists(folder + "/" + split + ".json")) annotations = folder + "/" + split + ".json";
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder + "/annotations", none))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    const std::string begin = "instances_" + split;
    for (const std::string& name : names)
      if (annotations.empty() && name.starts_with(begin) && name.ends_with(".json")) {
        annotations = folder + "/annotations/" + name;
        year = name.substr(begin.size(), name.size() - begin.size() - 5);
      }
    check(!annotations.empty(), "coco", "{} has neither annotations/instances_{}*.json nor {}.json", folder, split,
          split);
    CocoFile file = read_coco(annotations);
    check(!file.images.empty(), "coco", "{} has no images", annotations);
    if (train != nullptr) order_categories(file, train->classes(), annotations, "train");
    const std::string pictures =
        picture_folder(file, {folder + "/" + split + year, folder + "/images/" + split + year, folder + "/" + split,
                              folder + "/images/" + split, folder + "/images", folder});
    check(!pictures.empty(), "coco", "{} of {} is in none of {}, images/{}, images and {}", file.images[0].file,
          annotations, split + year, split + year, folder);
    const std::string odd = file.counts.str();
    const auto set =
        std::make_shared<CocoDataset>("coco " + split, std::move(file), pictures, train == nullptr, options);
    check(set->size() > 0, "coco", "{} has no objects to learn from{}", annotations, odd.empty() ? "" : ": " + odd);
    return set;
  };
  const DatasetPtr train = half("train", nullptr);
  return {train, half("val", train.get())};
}

}  // namespace atlas::inline ATLAS_ABI::data
