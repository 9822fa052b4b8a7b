// Bodies of mask_folder.h.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "atlas/data/ade20k-inl.h"
#include "atlas/data/folder_halves.h"
#include "atlas/data/image.h"
#include "atlas/data/image_folder-inl.h"
#include "atlas/data/index_png.h"
#include "atlas/data/mask_folder.h"
#include "atlas/data/picture_files.h"
#include "atlas/data/text.h"
#include "atlas/io/json_fields.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE MaskFolder::MaskFolder(std::string name, std::vector<std::string> classes, std::vector<File> files,
                                    Numbers numbers, FolderOptions options)
    : FileDataset(std::move(name), std::move(classes), std::move(options)),
      files_(std::move(files)),
      numbers_(numbers) {}

ATLAS_INLINE std::string MaskFolder::where(int64_t index) const {
  check_index(index);
  return files_[static_cast<size_t>(index)].image;
}

ATLAS_INLINE std::string MaskFolder::known_of(int64_t index) const {
  check_index(index);
  const File& file = files_[static_cast<size_t>(index)];
  return file.image + " " + file.mask;
}

ATLAS_INLINE std::string MaskFolder::content_of(int64_t index) const {
  check_index(index);
  const File& file = files_[static_cast<size_t>(index)];
  return size_of_file(file.image) + ", its mask " + size_of_file(file.mask);
}

ATLAS_INLINE Tensor MaskFolder::mask(const File& file, const Tensor& image) const {
  Tensor mask = read_index_png(file.mask, options().max_pixels);
  const int64_t h = image.size(0), w = image.size(1);
  check(mask.size(0) == h && mask.size(1) == w, "mask", "{}: is {} x {} pixels, its photograph {} has {} x {}{}",
        file.mask, mask.size(1), mask.size(0), file.image, w, h,
        mask.size(0) == w && mask.size(1) == h ? " (is the photograph turned by its EXIF orientation?)" : "");
  const int64_t shift = first(), classes = num_classes(), nothing = ignored();
  const DType dtype = nothing == kIgnored ? uint8 : int64;  // whatever the file has: those of a batch are alike
  Tensor result = mask.dtype() == dtype ? mask : empty(mask.shape(), dtype, Device{});
  for (int64_t i = 0; i < mask.numel(); ++i) {
    const int64_t v = mask.dtype() == uint8 ? mask.data<uint8_t>()[i] : mask.data<int64_t>()[i];
    const bool of_none = v == nothing || v < shift;
    check(of_none || v < classes + shift, "mask",
          "{}: holds {} at row {}, column {}: classes are {} to {}, and {}{} is ignored", file.mask, v, i / w, i % w,
          shift, classes + shift - 1, shift == 1 ? "0 or " : "", nothing);
    const int64_t to = of_none ? nothing : v - shift;
    if (dtype == uint8)
      result.data<uint8_t>()[i] = static_cast<uint8_t>(to);
    else
      result.data<int64_t>()[i] = to;
  }
  return result;
}

ATLAS_INLINE Sample MaskFolder::get(int64_t index) const {
  check_index(index);
  const File& file = files_[static_cast<size_t>(index)];
  Sample sample;
  sample.image = read(index, file.image);
  if (!sample.image.defined()) return sample;
  sample.targets.set(kMask, {TargetKind::mask, mask(file, sample.image), ignored()});
  return sample;
}

namespace detail {

/// The pictures below a folder. What is left out is reported. @throws Error when files are there and none can be read.
inline PictureFiles readable_files(const std::filesystem::path& folder, const char* what,
                                   const FolderOptions& options) {
  PictureFiles files = picture_files(folder);
  if (files.others.empty()) return files;
  const std::string text = left_out_text(files.others, folder);
  check(!files.pictures.empty(), "masks", "{}: has no {} that can be read: {}", folder.string(), what, text);
  report_files(options, fmt::format("{}: {}", folder.string(), text));
  return files;
}

/// The photographs below one folder with the masks of the same names below another.
inline std::vector<MaskFolder::File> paired_files(const std::filesystem::path& images,
                                                  const std::filesystem::path& masks, const FolderOptions& options) {
  namespace fs = std::filesystem;
  check(fs::is_directory(images), "masks", "{}: there is no such folder (of photographs)", images.string());
  check(fs::is_directory(masks), "masks", "{}: there is no such folder (of masks)", masks.string());
  const auto stem = [](const std::string& file, const fs::path& folder) {
    return fs::path(file).lexically_relative(folder).replace_extension().string();
  };
  const PictureFiles found = readable_files(images, "photograph", options),
                     drawn = readable_files(masks, "mask", options);
  check(!found.pictures.empty(), "masks", "{}: has no photographs ({} files)", images.string(), kPictureFormats);
  std::map<std::string, std::string> by_stem, photographs;
  for (const std::string& mask : drawn.pictures) {
    const auto [at, fresh] = by_stem.emplace(stem(mask, masks), mask);
    check(fresh, "masks", "{} and {} are masks of one name; leave one of them", at->second, mask);
  }
  std::vector<MaskFolder::File> files;
  std::vector<std::string> alone;
  for (const std::string& image : found.pictures) {
    const auto [at, fresh] = photographs.emplace(stem(image, images), image);
    check(fresh, "masks", "{} and {} are photographs of one name; leave one of them", at->second, image);
    const auto mask = by_stem.find(at->first);
    if (mask == by_stem.end()) {
      alone.push_back(image);
      continue;
    }
    check_index_png(mask->second);
    files.push_back({image, mask->second});
  }
  check(!files.empty(), "masks", "{}: none of the {} photographs has a mask of its name in {}", images.string(),
        found.pictures.size(), masks.string());
  if (!alone.empty())
    report_files(options, fmt::format("{}: {} of {} photographs have no mask in {} and are left out, such as {}",
                                      images.string(), alone.size(), found.pictures.size(), masks.string(), alone[0]));
  if (by_stem.size() > files.size())
    report_files(options, fmt::format("{}: {} masks have no photograph in {}", masks.string(),
                                      by_stem.size() - files.size(), images.string()));
  return files;
}

inline std::vector<std::string> mask_classes(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const std::string json = (folder / "classes.json").string(), text = (folder / "classes.txt").string();
  std::vector<std::string> names;
  if (fs::exists(json))
    names = io::json_strings(read_text(json), json);
  else if (fs::exists(text))
    names = read_lines(text);
  else
    fail("masks",
         "{}: there is no classes.json: a list of the classes' names in the order of their numbers, such as "
         "[\"background\", \"leaf\"]",
         folder.string());
  check(names.size() >= 2 && names.size() <= 65535, "masks", "{}: names {} classes, needs 2 to 65535",
        fs::exists(json) ? json : text, names.size());
  return names;
}

/// Names of the halves below a folder.
inline FolderHalves halves_below(const std::filesystem::path& folder) {
  check(std::filesystem::is_directory(folder), "masks", "{}: there is no such folder", folder.string());
  const auto halves = halves_among(subfolders(folder), folder.string(), "masks");
  check(halves.has_value(), "masks", "{}: expected train/ and val/ (or valid, validation, eval, test) in it",
        folder.string());
  return *halves;
}

/// Errors of the file system in one line.
template <class F>
DataPair with_files(const F& open) {
  try {
    return open();
  } catch (const std::filesystem::filesystem_error& error) {
    fail("masks", "{} ({})", error.code().message(), error.path1().string());
  }
}

}  // namespace detail

ATLAS_INLINE DataPair open_masks(const std::string& folder, const FolderOptions& options) {
  return detail::with_files([&]() -> DataPair {
    const std::filesystem::path root = folder;
    const FolderHalves halves = detail::halves_below(root / "images");
    const std::vector<std::string> classes = detail::mask_classes(root);
    const auto half = [&](const std::string& name) {
      return std::make_shared<MaskFolder>(folder + " " + name, classes,
                                          detail::paired_files(root / "images" / name, root / "masks" / name, options),
                                          MaskFolder::Numbers::classes, options);
    };
    return {half(halves.train), half(halves.test)};
  });
}

ATLAS_INLINE DataPair open_ade20k(const std::string& folder, const FolderOptions& options) {
  return detail::with_files([&]() -> DataPair {
    std::filesystem::path root = folder;
    if (!std::filesystem::exists(root / "annotations") && std::filesystem::exists(root / "ADEChallengeData2016"))
      root /= "ADEChallengeData2016";
    const auto half = [&](const char* name) {
      return std::make_shared<MaskFolder>(
          std::string("ade20k ") + name, ade20k_classes(),
          detail::paired_files(root / "images" / name, root / "annotations" / name, options),
          MaskFolder::Numbers::from_one, options);
    };
    return {half("training"), half("validation")};
  });
}

}  // namespace atlas::inline ATLAS_ABI::data
