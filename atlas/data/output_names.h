// Where results go that belong to pictures: names that differ, and never over a file that was read.
// Not in atlas.h: include it by name.
#pragma once

#include <fmt/core.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::data {

/// A path without ending for the results of each picture: FOLDER/NAME, or FOLDER/NAME_2 and so on where pictures have
/// the same name in other folders or formats.
inline std::vector<std::string> output_names(const std::string& folder, const std::vector<std::string>& pictures) {
  std::vector<std::string> names;
  std::set<std::string> taken;
  std::map<std::string, int> last;  // number of the last picture of this name
  for (const std::string& picture : pictures) {
    const std::string stem = std::filesystem::path(picture).stem().string();
    std::string name = stem;
    for (int& i = last.try_emplace(stem, 1).first->second; !taken.insert(name).second;)
      name = fmt::format("{}_{}", stem, ++i);
    names.push_back((std::filesystem::path(folder) / name).string());
  }
  return names;
}

/// Makes the folder that results go to, and those above it. @throws Error naming it, and why that fails.
/// @param op  whose error message it is
inline void make_output_folder(const std::string& folder, const char* op) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error && !std::filesystem::is_directory(folder)) error = std::make_error_code(std::errc::not_a_directory);
  check(!error, op, "cannot make the folder {}: {}", folder, error.message());
}

/// Makes sure, before the work begins, that no result would replace a file that it is made from.
/// @param outputs  files that will be written; links are followed, and "" and files that are not there yet are fine
/// @param inputs   files that are read; "" and what is no file are passed over
/// @param op       whose error message it is
/// @throws Error naming both.
inline void check_inputs_stay(const std::vector<std::string>& outputs, const std::vector<std::string>& inputs,
                              const char* op) {
  using Place = std::pair<dev_t, ino_t>;
  const auto place_of = [](const std::string& path, Place& place) {
    struct stat info {};
    if (path.empty() || ::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
    place = {info.st_dev, info.st_ino};
    return true;
  };
  std::map<Place, std::string> read;
  Place place;
  for (const std::string& input : inputs)
    if (place_of(input, place)) read.try_emplace(place, input);
  for (const std::string& output : outputs) {
    if (!place_of(output, place)) continue;
    const auto it = read.find(place);
    check(it == read.end(), op, "{} would be written over the input {}: choose another place", output,
          it == read.end() ? "" : it->second);
  }
}

}  // namespace atlas::inline ATLAS_ABI::data
