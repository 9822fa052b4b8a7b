// Bodies of image_folder.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <optional>

#include "atlas/core/one_line.h"
#include "atlas/data/class_list.h"
#include "atlas/data/encoded_image.h"
#include "atlas/data/folder_halves.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/picture_files.h"
#include "atlas/data/select.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// Tells whoever listens about files that are passed over.
inline void report_files(const FolderOptions& options, const std::string& message) {
  const std::string line = on_one_line(message);
  if (options.report)
    options.report(line);
  else
    std::fprintf(stderr, "%s\n", line.c_str());
}

/// The folders of the classes that are used among those that are there, and the list that names them; an empty one
/// where all are used.
inline std::pair<std::vector<std::string>, ClassList> class_folders(const std::string& path,
                                                                    const std::vector<std::string>& there,
                                                                    const std::string& class_list) {
  if (class_list.empty()) return {there, {}};
  ClassList list = read_class_list(class_list);
  check_listed(list, path, there);
  return {list.names, std::move(list)};
}

}  // namespace detail

ATLAS_INLINE FileDataset::FileDataset(std::string name, std::vector<std::string> classes, FolderOptions options)
    : Dataset(std::move(name), std::move(classes)), options_(std::move(options)) {}

ATLAS_INLINE bool FileDataset::skips(int64_t index, const Error& error) const {
  if (options_.strict) return false;
  const std::lock_guard lock(mutex_);
  if (bad_.insert(index).second)
    detail::report_files(options_, fmt::format("skipped an unreadable image: {}", error.what()));
  return true;
}

ATLAS_INLINE bool FileDataset::was_skipped(int64_t index) const {
  check_index(index);
  const std::lock_guard lock(mutex_);
  return bad_.contains(index);
}

ATLAS_INLINE Tensor FileDataset::read(int64_t index, const std::string& path) const {
  try {
    return read_image(path, options_.max_pixels);
  } catch (const Error& error) {
    if (!skips(index, error)) throw;
    return {};
  }
}

ATLAS_INLINE std::string FileDataset::size_of_file(const std::string& path) {
  std::error_code none;
  const auto bytes = std::filesystem::file_size(path, none);
  return none ? "no file" : fmt::format("{} bytes", bytes);
}

ATLAS_INLINE ImageFolder::ImageFolder(std::string name, std::vector<std::string> classes, std::vector<File> files,
                                      FolderOptions options)
    : FileDataset(std::move(name), std::move(classes), std::move(options)), files_(std::move(files)) {
  for (const File& f : files_)
    check(f.label >= 0 && f.label < num_classes(), "image_folder", "{}: label {} is outside the {} classes", f.path,
          f.label, num_classes());
}

ATLAS_INLINE std::string ImageFolder::where(int64_t index) const {
  check_index(index);
  return files_[static_cast<size_t>(index)].path;
}

ATLAS_INLINE std::string ImageFolder::known_of(int64_t index) const {
  return fmt::format("{} {}", label(index), where(index));
}

ATLAS_INLINE int64_t ImageFolder::label(int64_t index) const {
  check_index(index);
  return files_[static_cast<size_t>(index)].label;
}

ATLAS_INLINE Sample ImageFolder::get(int64_t index) const {
  check_index(index);
  const File& file = files_[static_cast<size_t>(index)];
  return labeled(read(index, file.path), file.label);
}

ATLAS_INLINE Sample ImageFolder::open(int64_t index) const {
  if (options().exact_decode) return get(index);
  check_index(index);
  const File& file = files_[static_cast<size_t>(index)];
  Sample sample = labeled(Tensor(), file.label);
  try {
    sample.encoded = EncodedImage::read(file.path, options().max_pixels);
  } catch (const Error& error) {
    if (!skips(index, error)) throw;
  }
  return sample;
}

ATLAS_INLINE std::shared_ptr<const ImageFolder> image_folder(const std::string& path, const FolderOptions& options,
                                                             const std::vector<std::string>& classes) {
  namespace fs = std::filesystem;
  try {
    check(fs::exists(path), "image_folder", "{}: no such folder", path);
    check(fs::is_directory(path), "image_folder", "{}: is a file, not a folder", path);
    std::vector<std::string> names = classes;
    std::vector<ImageFolder::File> files;
    std::vector<std::string> left_out, unlike;  // unlike: of a class without a file that begins as a picture does
    const std::vector<std::string> there = detail::subfolders(path);
    const auto [folders, list] = detail::class_folders(path, there, options.class_list);
    if (!list.names.empty()) names = list.names;
    for (size_t i = 0; i < folders.size(); ++i) {
      const std::string& folder = folders[i];
      const auto [images, others] = picture_files(fs::path(path) / folder);
      check(!images.empty() || others.empty(), "image_folder", "{}: class {} has no image that can be read: {}", path,
            folder, detail::left_out_text(others, fs::path(path) / folder));
      left_out.insert(left_out.end(), others.begin(), others.end());
      check(!images.empty() || list.names.empty(), "image_folder", "{}: folder {} of {} holds no images",
            list.names.empty() ? "" : list.where(i), folder, path);
      if (images.empty()) {
        detail::report_files(options, fmt::format("{}: folder {} holds no images: it is no class", path, folder));
        continue;
      }
      auto at = std::find(names.begin(), names.end(), folder);
      if (at == names.end()) {
        check(classes.empty(), "image_folder", "{}: class {} is not one of the {} classes trained on", path, folder,
              classes.size());
        names.push_back(folder);
        at = std::prev(names.end());
      }
      if (unlike.empty() && std::none_of(images.begin(), images.end(), detail::begins_like_a_picture)) unlike = images;
      for (const std::string& file : images) files.push_back({file, at - names.begin()});
    }
    check(!files.empty(), "image_folder", "{}: no images (expected a subfolder per class with {} files)", path,
          kPictureFormats);
    check(names.size() >= 2, "image_folder",
          "{}: only one class ({}); a classifier needs two or more subfolders with images", path, names[0]);
    check(unlike.empty(), "image_folder", "{}: none of the {} files of a class begins as JPEG, PNG or BMP do: {}{}",
          path, unlike.size(), unlike.empty() ? "" : unlike[0], unlike.size() > 1 ? ", ..." : "");
    if (const size_t unused = there.size() - folders.size(); unused > 0)
      detail::report_files(options, fmt::format("{}: {} of {} class folders are not in {} and left out", path, unused,
                                                there.size(), list.file));
    if (!left_out.empty())
      detail::report_files(options, fmt::format("{}: {}", path, detail::left_out_text(left_out, path)));
    int64_t loose = 0;
    for (const auto& entry : fs::directory_iterator(path))
      loose += !entry.is_directory() && !detail::is_hidden(entry.path()) && detail::is_image_name(entry.path());
    if (loose > 0)
      detail::report_files(options, fmt::format("{}: {} image{} outside of the class folders {} left out", path, loose,
                                                loose == 1 ? "" : "s", loose == 1 ? "is" : "are"));
    return std::make_shared<ImageFolder>(path, std::move(names), std::move(files), options);
  } catch (const fs::filesystem_error& error) {
    fail("image_folder", "{}: {} ({})", path, error.code().message(), error.path1().string());
  }
}

ATLAS_INLINE std::vector<std::string> find_images(const std::vector<std::string>& paths, const FolderOptions& options) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    try {
      if (!fs::is_directory(path)) {
        files.push_back(path);
        continue;
      }
      const auto [inside, others] = picture_files(path);
      check(!inside.empty(), "find_images", "{}: no {} files in this folder{}", path, kPictureFormats,
            others.empty() ? "" : ": " + detail::left_out_text(others, path));
      if (!others.empty())
        detail::report_files(options, fmt::format("{}: {}", path, detail::left_out_text(others, path)));
      files.insert(files.end(), inside.begin(), inside.end());
    } catch (const fs::filesystem_error& error) {
      fail("find_images", "{}: {} ({})", path, error.code().message(), error.path1().string());
    }
  }
  return files;
}

ATLAS_INLINE DataPair open_folder(const std::string& path, const FolderOptions& options) {
  namespace fs = std::filesystem;
  check(options.test_fraction > 0 && options.test_fraction < 1, "open_folder",
        "test_fraction must lie between 0 and 1, got {}", options.test_fraction);
  std::optional<FolderHalves> halves;
  try {
    if (fs::is_directory(path))
      halves = find_halves(
          path, options.class_list.empty() ? std::vector<std::string>{} : read_class_list(options.class_list).names);
  } catch (const fs::filesystem_error& error) {
    fail("open_folder", "{}: {} ({})", path, error.code().message(), error.path1().string());
  }
  if (halves) {
    std::string beside;
    for (const std::string& name : detail::subfolders(path))
      if (detail::loosely_a_half(name) == 0) beside += (beside.empty() ? "" : ", ") + name;
    if (!beside.empty())
      detail::report_files(options, fmt::format("{}: beside the halves, left out: {}", path, beside));
    const auto train = image_folder(halves->train, options);
    return {train, image_folder(halves->test, options, train->classes())};
  }
  const auto whole = image_folder(path, options);
  std::vector<int64_t> train, held_out;
  const auto& files = whole->files();
  for (int64_t label = 0; label < whole->num_classes(); ++label) {
    std::vector<std::pair<uint64_t, int64_t>> order;
    for (int64_t i = 0; i < whole->size(); ++i) {
      const auto& file = files[static_cast<size_t>(i)];
      if (file.label == label)
        order.emplace_back(stable_hash(fs::path(file.path).lexically_relative(path).generic_string()), i);
    }
    check(order.size() >= 2, "open_folder",
          "{}: class {} has only one image, but training and test need one each (or give the folder train/ and val/)",
          path, whole->classes()[static_cast<size_t>(label)]);
    std::sort(order.begin(), order.end());
    const int64_t n = static_cast<int64_t>(order.size());
    const int64_t tests = std::clamp<int64_t>(std::llround(options.test_fraction * static_cast<double>(n)), 1, n - 1);
    for (int64_t i = 0; i < n; ++i) (i < tests ? held_out : train).push_back(order[static_cast<size_t>(i)].second);
  }
  std::sort(train.begin(), train.end());
  std::sort(held_out.begin(), held_out.end());
  return {std::make_shared<Subset>(whole, std::move(train)), std::make_shared<Subset>(whole, std::move(held_out))};
}

}  // namespace atlas::inline ATLAS_ABI::data
