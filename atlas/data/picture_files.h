// Which files below a folder are pictures that can be read, and which are left out.
// Not in atlas.h: include it by name.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/core/error.h"
#include "atlas/core/input_file.h"

namespace atlas::inline ATLAS_ABI::data {

/// What is said of formats wherever a picture is expected.
inline constexpr const char* kPictureFormats = ".jpg, .jpeg, .png or .bmp";

/// The files below a folder, sorted, by what becomes of them.
struct PictureFiles {
  std::vector<std::string> pictures;  ///< those that will be read, by their names
  std::vector<std::string> others;    ///< those of other formats: they are left out, and somebody has to say so
};

namespace detail {

/// ASCII letters made small.
inline std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

template <size_t N>
bool has_ending(const std::filesystem::path& path, const std::array<std::string_view, N>& endings) {
  const std::string e = lower_case(path.extension().string());
  return std::find(endings.begin(), endings.end(), e) != endings.end();
}

/// JPEG, PNG and BMP by all their names; what is in the file decides when it is read.
inline bool is_image_name(const std::filesystem::path& path) {
  return has_ending(path, std::array<std::string_view, 7>{".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib"});
}

/// Notes and lists that lie beside pictures, which nobody takes for one.
inline bool is_companion(const std::filesystem::path& path) {
  return has_ending(path,
                    std::array<std::string_view, 15>{".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml",
                                                     ".yml", ".html", ".log", ".ini", ".db", ".pdf", ".py"}) ||
         lower_case(path.filename().string()) == "readme" || lower_case(path.filename().string()) == "license";
}

/// Also what archives of macOS leave behind.
inline bool is_hidden(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with('.') || name == "__MACOSX";
}

/// Calls visit(path) for every file below a folder that is not hidden, until it returns false.
inline void walk_files(const std::filesystem::path& folder,
                       const std::function<bool(const std::filesystem::directory_entry&)>& visit) {
  namespace fs = std::filesystem;
  for (auto it = fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink);
       it != fs::recursive_directory_iterator(); ++it) {
    // A link to a folder above would be walked for ever.
    check(it.depth() < 32, "image_folder", "{}: folders are nested more than 32 deep (a link to a folder above it?)",
          folder.string());
    std::error_code ignored;
    if (it->is_directory(ignored)) {
      if (is_hidden(it->path())) it.disable_recursion_pending();
    } else if (!is_hidden(it->path()) && !visit(*it)) {
      return;
    }
  }
}

/// True when a folder has a picture at any depth.
inline bool holds_picture(const std::filesystem::path& folder) {
  bool found = false;
  walk_files(folder, [&](const auto& entry) { return !(found = is_image_name(entry.path())); });
  return found;
}

/// Subfolders of a folder, sorted.
inline std::vector<std::string> subfolders(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.is_directory() && !is_hidden(entry.path())) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// True when a file's first bytes are those of JPEG, PNG or BMP, whatever its name says.
inline bool begins_like_a_picture(const std::string& path) {
  std::array<unsigned char, 4> first{};
  if (InputFile(path).read(first.data(), first.size()) != first.size()) return false;
  const auto is = [&](std::initializer_list<unsigned char> bytes) {
    return std::equal(bytes.begin(), bytes.end(), first.begin());
  };
  return is({0xFF, 0xD8, 0xFF}) || is({0x89, 'P', 'N', 'G'}) || is({'B', 'M'});
}

/// "3 files are left out, which are no .jpg, ...: a.webp, b.tif and c.gif" (the first names, by their last parts).
inline std::string left_out_text(const std::vector<std::string>& files, const std::filesystem::path& below) {
  constexpr size_t kShown = 5;
  std::string names;
  for (size_t i = 0; i < std::min(files.size(), kShown); ++i)
    names += (i > 0 ? ", " : "") + std::filesystem::path(files[i]).lexically_relative(below).string();
  if (files.size() > kShown) names += fmt::format(" and {} more", files.size() - kShown);
  return fmt::format("{} file{} left out, not {}: {}", files.size(), files.size() == 1 ? " is" : "s are",
                     kPictureFormats, names);
}

}  // namespace detail

/// The files below a folder. Hidden ones, and notes and lists beside the pictures (.txt, .csv, .json, ...), count for
/// neither. @throws std::filesystem::filesystem_error for a folder that cannot be read.
inline PictureFiles picture_files(const std::filesystem::path& folder) {
  PictureFiles files;
  detail::walk_files(folder, [&](const auto& entry) {
    if (detail::is_image_name(entry.path()))
      files.pictures.push_back(entry.path().string());
    else if (!detail::is_companion(entry.path()))
      files.others.push_back(entry.path().string());
    return true;
  });
  std::sort(files.pictures.begin(), files.pictures.end());
  std::sort(files.others.begin(), files.others.end());
  return files;
}

}  // namespace atlas::inline ATLAS_ABI::data
