// Bodies of image_folder.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iterator>

#include "atlas/data/image_folder.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

namespace fs = std::filesystem;

inline bool is_image_name(const fs::path& path) {
  std::string e = path.extension().string();
  std::transform(e.begin(), e.end(), e.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return e == ".jpg" || e == ".jpeg" || e == ".png" || e == ".bmp";
}

inline bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

/// Subfolders of a folder, sorted.
inline std::vector<std::string> subfolders(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && !is_hidden(entry.path())) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// Image files below a folder, sorted.
inline std::vector<std::string> image_files(const fs::path& folder) {
  std::vector<std::string> files;
  for (auto it = fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink);
       it != fs::recursive_directory_iterator(); ++it) {
    // A link to a folder above would be walked for ever.
    check(it.depth() < 32, "image_folder", "{}: folders are nested more than 32 deep (a link to a folder above it?)",
          folder.string());
    if (is_hidden(it->path())) {
      if (it->is_directory()) it.disable_recursion_pending();
    } else if (is_image_name(it->path()) && it->is_regular_file()) {
      files.push_back(it->path().string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// FNV-1a: the same on every machine, unlike std::hash.
inline uint64_t stable_hash(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : text) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  // FNV's upper bits change little with the last letters, where file names differ.
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
  return h ^ (h >> 33);
}

}  // namespace detail

ATLAS_INLINE ImageFolder::ImageFolder(std::string name, std::vector<std::string> classes, std::vector<File> files,
                                      FolderOptions options)
    : Dataset(std::move(name), std::move(classes)),
      files_(std::move(files)),
      options_(std::move(options)),
      bad_(files_.size(), false) {
  for (const File& f : files_)
    check(f.label >= 0 && f.label < num_classes(), "image_folder", "{}: label {} is outside the {} classes", f.path,
          f.label, num_classes());
}

ATLAS_INLINE std::string ImageFolder::where(int64_t index) const {
  check_index(index);
  return files_[static_cast<size_t>(index)].path;
}

ATLAS_INLINE bool ImageFolder::was_skipped(int64_t index) const {
  check_index(index);
  std::lock_guard lock(mutex_);
  return bad_[static_cast<size_t>(index)];
}

ATLAS_INLINE Sample ImageFolder::get(int64_t index) const {
  check_index(index);
  const File& file = files_[static_cast<size_t>(index)];
  if (options_.strict) return {read_image(file.path, options_.max_pixels), file.label};
  try {
    return {read_image(file.path, options_.max_pixels), file.label};
  } catch (const Error& error) {
    std::lock_guard lock(mutex_);
    if (!bad_[static_cast<size_t>(index)]) {
      bad_[static_cast<size_t>(index)] = true;
      const std::string message = fmt::format("skipped an unreadable image: {}", error.what());
      if (options_.report)
        options_.report(message);
      else
        std::fprintf(stderr, "%s\n", message.c_str());
    }
    return {Tensor(), file.label};
  }
}

ATLAS_INLINE std::shared_ptr<const ImageFolder> image_folder(const std::string& path, const FolderOptions& options,
                                                             const std::vector<std::string>& classes) {
  namespace fs = std::filesystem;
  try {
    check(fs::exists(path), "image_folder", "{}: no such folder", path);
    check(fs::is_directory(path), "image_folder", "{}: is a file, not a folder", path);
    std::vector<std::string> names = classes;
    std::vector<ImageFolder::File> files;
    for (const std::string& folder : detail::subfolders(path)) {
      const std::vector<std::string> images = detail::image_files(fs::path(path) / folder);
      if (images.empty()) continue;
      auto at = std::find(names.begin(), names.end(), folder);
      if (at == names.end()) {
        check(classes.empty(), "image_folder", "{}: class {} is not one of the {} classes trained on", path, folder,
              classes.size());
        names.push_back(folder);
        at = std::prev(names.end());
      }
      for (const std::string& file : images) files.push_back({file, at - names.begin()});
    }
    check(!files.empty(), "image_folder",
          "{}: no images (expected a subfolder per class with .jpg, .jpeg, .png or .bmp files)", path);
    check(names.size() >= 2, "image_folder",
          "{}: only one class ({}); a classifier needs two or more subfolders with images", path, names[0]);
    return std::make_shared<ImageFolder>(path, std::move(names), std::move(files), options);
  } catch (const fs::filesystem_error& error) {
    fail("image_folder", "{}: {} ({})", path, error.code().message(), error.path1().string());
  }
}

ATLAS_INLINE std::vector<std::string> find_images(const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    try {
      if (!fs::is_directory(path)) {
        files.push_back(path);
        continue;
      }
      const std::vector<std::string> inside = detail::image_files(path);
      check(!inside.empty(), "find_images", "{}: no .jpg, .jpeg, .png or .bmp files in this folder", path);
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
  const auto has = [&](const char* name) {
    std::error_code ignored;
    return fs::is_directory(fs::path(path) / name, ignored);
  };
  const char* test = has("val") ? "val" : "test";
  if (has("train") && has(test)) {
    const auto train = image_folder((fs::path(path) / "train").string(), options);
    return {train, image_folder((fs::path(path) / test).string(), options, train->classes())};
  }
  const auto whole = image_folder(path, options);
  std::vector<int64_t> train, held_out;
  const auto& files = whole->files();
  for (int64_t label = 0; label < whole->num_classes(); ++label) {
    std::vector<std::pair<uint64_t, int64_t>> order;
    for (int64_t i = 0; i < whole->size(); ++i) {
      const auto& file = files[static_cast<size_t>(i)];
      if (file.label == label)
        order.emplace_back(detail::stable_hash(fs::path(file.path).lexically_relative(path).generic_string()), i);
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
