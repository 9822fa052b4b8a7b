// Bodies of open.h, and the sources that exist from the start.
#pragma once

#include "atlas/core/nearest.h"
#include "atlas/core/whole_number.h"
#include "atlas/data/cifar.h"
#include "atlas/data/coco_folder.h"
#include "atlas/data/mask_folder.h"
#include "atlas/data/mnist.h"
#include "atlas/data/open.h"
#include "atlas/data/scenes.h"
#include "atlas/data/shapes.h"
#include "atlas/data/voc.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

ATLAS_INLINE const std::string& needed_folder(const std::string& source, const std::string& where) {
  check(!where.empty(), "data", "{} needs a folder: {}:FOLDER", source, source);
  return where;
}

inline DataPair open_fashion_mnist(const std::string& where, const FolderOptions&) {
  const std::string path = where.empty() ? kFashionMnistFolder : where;
  return {fashion_mnist(true, path), fashion_mnist(false, path)};
}
inline DataPair open_mnist(const std::string& where, const FolderOptions&) {
  const std::string& folder = needed_folder("mnist", where);
  return {mnist(folder, true), mnist(folder, false)};
}
inline DataPair open_cifar10(const std::string& where, const FolderOptions&) {
  const std::string& folder = needed_folder("cifar10", where);
  return {cifar10(folder, true), cifar10(folder, false)};
}
inline DataPair open_cifar100(const std::string& where, const FolderOptions&) {
  const std::string& folder = needed_folder("cifar100", where);
  return {cifar100(folder, true), cifar100(folder, false)};
}
inline DataPair open_image_folder(const std::string& where, const FolderOptions& options) {
  return open_folder(needed_folder("folder", where), options);
}
inline DataPair open_shapes(const std::string& where, const FolderOptions&) {
  const int64_t side = where.empty() ? 32 : whole_number(where, "shapes:SIZE");
  return {std::make_shared<Shapes>(2000, side, 4, 0), std::make_shared<Shapes>(500, side, 4, 1)};
}

inline DataPair open_mask_folder(const std::string& where, const FolderOptions& options) {
  return open_masks(needed_folder("masks", where), options);
}
inline DataPair open_ade20k_folder(const std::string& where, const FolderOptions& options) {
  return open_ade20k(needed_folder("ade20k", where), options);
}
inline DataPair open_coco_folder(const std::string& where, const FolderOptions& options) {
  return open_coco(needed_folder("coco", where), options);
}
inline DataPair open_voc_folder(const std::string& where, const FolderOptions& options) {
  return open_voc(needed_folder("voc", where), options);
}
inline DataPair open_objects(const std::string& where, const FolderOptions&) {
  const int64_t side = where.empty() ? 96 : whole_number(where, "objects:SIZE");
  return {std::make_shared<Scenes>(1000, side, SceneTruth::objects, 4, 0),
          std::make_shared<Scenes>(200, side, SceneTruth::objects, 4, 1)};
}
inline DataPair open_scenes(const std::string& where, const FolderOptions&) {
  const int64_t side = where.empty() ? 64 : whole_number(where, "scenes:SIZE");
  return {std::make_shared<Scenes>(1000, side, SceneTruth::pixels, 4, 0),
          std::make_shared<Scenes>(200, side, SceneTruth::pixels, 4, 1)};
}

inline Normalize gray(float mean, float std) { return {{mean, mean, mean}, {std, std, std}}; }

/// Those that exist from the start, and those that were registered.
inline std::vector<Source>& sources() {
  const Normalize cifar = {{0.4914f, 0.4822f, 0.4465f}, {0.2470f, 0.2435f, 0.2616f}};
  static std::vector<Source> all = {
      {"fashion-mnist[:FOLDER]", open_fashion_mnist, gray(0.2860f, 0.3530f)},
      {"mnist:FOLDER", open_mnist, gray(0.1307f, 0.3081f)},
      {"cifar10:FOLDER", open_cifar10, cifar},
      {"cifar100:FOLDER", open_cifar100, cifar},
      {"folder:FOLDER", open_image_folder, {}, true},
      {"shapes[:SIZE]", open_shapes, gray(0.5f, 0.25f)},
      {"ade20k:FOLDER", open_ade20k_folder},
      {"masks:FOLDER", open_mask_folder},
      {"coco:FOLDER", open_coco_folder},
      {"voc:FOLDER", open_voc_folder},
      {"objects[:SIZE]", open_objects, gray(0.5f, 0.25f)},
      {"scenes[:SIZE]", open_scenes, gray(0.5f, 0.25f)},
  };
  return all;
}

}  // namespace detail

ATLAS_INLINE void register_source(Source source) {
  const std::string name = source.name();
  check(!name.empty() && source.open != nullptr, "register_source", "a source needs a name and a way to be opened");
  for (const Source& other : detail::sources())
    check(other.name() != name, "register_source", "there is a source '{}' already", name);
  detail::sources().push_back(std::move(source));
}

ATLAS_INLINE std::string source_usages() {
  const std::vector<Source>& all = detail::sources();
  std::string text;
  for (size_t i = 0; i < all.size(); ++i) text += (i == 0 ? "" : i + 1 < all.size() ? ", " : " and ") + all[i].usage;
  return text;
}

ATLAS_INLINE DataPair open_data(const std::string& what, const FolderOptions& options) {
  const size_t colon = what.find(':');
  const std::string kind = what.substr(0, colon);
  for (const Source& source : detail::sources()) {
    if (source.name() != kind) continue;
    check(options.class_list.empty() || source.class_list, "classes",
          "{} cannot be applied to {}: a class list names folders, as folder:FOLDER has them", options.class_list,
          what);
    return source.open(colon == std::string::npos ? "" : what.substr(colon + 1), options);
  }
  std::vector<std::string> names;
  for (const Source& source : detail::sources()) names.push_back(source.name());
  fail("data", "unknown data set {}; there are {}{}", what, source_usages(), did_you_mean(kind, names));
}

ATLAS_INLINE Normalize normalization_of(const std::string& what) {
  const std::string kind = what.substr(0, what.find(':'));
  for (const Source& source : detail::sources())
    if (!kind.empty() && source.name().starts_with(kind)) return source.normalize;
  return {};
}

}  // namespace atlas::inline ATLAS_ABI::data
