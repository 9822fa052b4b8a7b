// Which folders hold the training and the test images: train/ and val/, however people write them.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/data/picture_files.h"

namespace atlas::inline ATLAS_ABI::data {

/// Paths of the two halves of a data set.
struct FolderHalves {
  std::string train, test;
};

namespace detail {

/// Names of test halves in the order of preference: a validation half is what training looks at.
inline constexpr std::array<std::array<std::string_view, 3>, 3> kTestHalves = {
    {{"val", "valid", "validation"}, {"eval", "evaluation", "dev"}, {"test", "testing", "tests"}}};

inline bool is_train_half(std::string_view lower) { return lower == "train" || lower == "training"; }
inline bool is_test_half(std::string_view lower) {
  return std::any_of(kTestHalves.begin(), kTestHalves.end(),
                     [&](const auto& kind) { return std::find(kind.begin(), kind.end(), lower) != kind.end(); });
}
/// True for "Train", "val2017", "test-set" and "holdout", not for "trainer" and "evaluator".
inline bool resembles_half(const std::string& name) {
  const std::string lower = lower_case(name);
  const size_t end = std::min(lower.find_first_not_of("abcdefghijklmnopqrstuvwxyz"), lower.size());
  const std::string_view word = std::string_view(lower).substr(0, end);
  return is_train_half(word) || is_test_half(word) || word == "holdout" || word == "heldout" || word == "hold";
}

/// The words of a name, in small letters: "seg_train", "trainA" and "01-trainset" have "train" among them.
inline std::vector<std::string> words_of_name(const std::string& name) {
  std::vector<std::string> words(1);
  const auto is = [](char c, char from, char to) { return c >= from && c <= to; };
  for (size_t i = 0; i < name.size(); ++i) {
    const bool large = is(name[i], 'A', 'Z'), begins = large && i > 0 && is(name[i - 1], 'a', 'z');
    if (!(large || is(name[i], 'a', 'z')) || begins) words.emplace_back();
    if (large || is(name[i], 'a', 'z')) words.back() += static_cast<char>(large ? name[i] - 'A' + 'a' : name[i]);
  }
  for (std::string& word : words)
    for (const std::string_view end : {"sets", "set", "s"})
      if (word.size() > end.size() && word.ends_with(end)) {
        word.resize(word.size() - end.size());
        break;
      }
  return words;
}
/// What a name says of a half, loosely: 1 training, 2 test, 0 nothing. Classes may be called "bullet_train", so it
/// counts only where all folders have such names.
inline int loosely_a_half(const std::string& name) {
  for (const std::string& word : words_of_name(name)) {
    if (is_train_half(word) || word == "trn") return 1;
    if (is_test_half(word) || word == "tst") return 2;
  }
  return 0;
}

/// True for a name that is a half's and nothing more: "Test", "val2017", "test-set", "hold_out" and "train_a", not
/// "test_tube". Beside class folders, such a folder is hardly one of them.
inline bool names_a_half(const std::string& name) {
  bool half = false, hold = false, out = false;
  for (const std::string& word : words_of_name(name)) {
    hold = hold || word == "hold" || word == "held";
    out = out || word == "out";
    const bool is = is_train_half(word) || is_test_half(word) || word == "holdout" || word == "heldout";
    half = half || is;
    if (!is && word.size() > 1 && word != "hold" && word != "held" && word != "out" && word != "set" &&
        word != "data" && word != "split" && word != "image" && word != "img")
      return false;
  }
  return half || (hold && out);
}

inline std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& n : names) text += (text.empty() ? "" : ", ") + n;
  return text;
}

/// The names that the subfolders of all folders have in common, when each folder has exactly these, at least two, and
/// no picture beside them; otherwise none. fold1/{cat,dog} and fold2/{cat,dog} are halves, not classes.
inline std::vector<std::string> same_subfolders(const std::string& path, const std::vector<std::string>& folders) {
  namespace fs = std::filesystem;
  std::vector<std::string> same;
  for (const std::string& name : folders) {
    const fs::path folder = fs::path(path) / name;
    std::vector<std::string> inner;
    for (const std::string& n : subfolders(folder))
      if (holds_picture(folder / n)) inner.push_back(n);
    if (inner.size() < 2 || (!same.empty() && inner != same)) return {};
    for (const auto& entry : fs::directory_iterator(folder))
      if (!entry.is_directory() && !is_hidden(entry.path()) && is_image_name(entry.path())) return {};
    same = std::move(inner);
  }
  return folders.size() < 2 ? std::vector<std::string>{} : same;
}

/// The names among `folders` that are exactly those of two halves, or none when one of them is missing.
/// @throws Error naming those that could be the same half.
inline std::optional<FolderHalves> halves_among(const std::vector<std::string>& folders, const std::string& path,
                                                const char* op) {
  std::vector<std::string> trains;
  std::array<std::vector<std::string>, kTestHalves.size()> tests;
  for (const std::string& name : folders) {
    const std::string lower = lower_case(name);
    if (is_train_half(lower)) trains.push_back(name);
    for (size_t kind = 0; kind < tests.size(); ++kind)
      if (std::find(kTestHalves[kind].begin(), kTestHalves[kind].end(), lower) != kTestHalves[kind].end())
        tests[kind].push_back(name);
  }
  const auto test = std::find_if(tests.begin(), tests.end(), [](const auto& kind) { return !kind.empty(); });
  if (trains.empty() || test == tests.end()) return std::nullopt;
  check(trains.size() == 1 && test->size() == 1, op, "{}: which of {} is meant? Leave one of them", path,
        joined(trains.size() > 1 ? trains : *test));
  return FolderHalves{trains[0], test->front()};
}

}  // namespace detail

/// The halves of a folder, or none when its subfolders are classes.
///
/// The training half is called train or training. The other is called val, valid, validation, eval, evaluation, dev,
/// test, testing or tests; the first kind of these that is there counts. Letters may be small or large. Each half has
/// one subfolder per class.
/// @param classes  names of a list of classes: where all of them are subfolders, they are classes whatever their names
/// @throws Error when subfolders look like halves but are none that can be used, since training on a class called
/// "train" would be worse: when two could be meant, one has no partner, they stand beside class folders or inside them,
/// or go by other names (train2017, or any where all hold the same folders of images).
inline std::optional<FolderHalves> find_halves(const std::string& path, const std::vector<std::string>& classes = {}) {
  namespace fs = std::filesystem;
  constexpr const char* op = "open_folder";
  constexpr const char* wanted =
      "expected train/ and val/ (or valid, validation, eval, test) with a subfolder per class in each, or a list of "
      "the classes (--classes)";
  const std::vector<std::string> folders = detail::subfolders(path);
  const bool listed = !classes.empty() && std::all_of(classes.begin(), classes.end(), [&](const std::string& name) {
    return std::find(folders.begin(), folders.end(), name) != folders.end();
  });
  if (listed && std::any_of(classes.begin(), classes.end(), detail::resembles_half)) return std::nullopt;
  if (const auto halves = detail::halves_among(folders, path, op))
    return FolderHalves{(fs::path(path) / halves->train).string(), (fs::path(path) / halves->test).string()};
  if (listed) return std::nullopt;
  std::vector<std::string> look_alike, beside;
  size_t with_pictures = 0, look_alike_with_pictures = 0;
  for (const std::string& name : folders) {
    const bool pictures = detail::holds_picture(fs::path(path) / name), resembles = detail::resembles_half(name);
    with_pictures += pictures;
    look_alike_with_pictures += pictures && resembles;
    if (resembles) look_alike.push_back(name);
    if (pictures && detail::names_a_half(name)) beside.push_back(name);
  }
  check(look_alike_with_pictures == 0 || look_alike_with_pictures < with_pictures, op,
        "{}: {} look{} like halves of a data set, not like classes; {}", path, detail::joined(look_alike),
        look_alike.size() == 1 ? "s" : "", wanted);
  std::array<size_t, 3> kinds{};
  for (const std::string& name : folders) ++kinds[static_cast<size_t>(detail::loosely_a_half(name))];
  check(kinds[0] > 0 || kinds[1] == 0 || kinds[2] == 0, op,
        "{}: {} look like halves of a data set, not like classes; {}", path, detail::joined(folders), wanted);
  check(beside.empty(), op, "{}: {} beside class folders looks like a half of a data set; {}", path,
        detail::joined(beside), wanted);
  for (const std::string& name : folders) {
    const fs::path folder = fs::path(path) / name;
    bool train = false, other = false;
    for (const std::string& inner : detail::subfolders(folder)) {
      const std::string lower = detail::lower_case(inner);
      if (!detail::holds_picture(folder / inner)) continue;
      train = train || detail::is_train_half(lower);
      other = other || detail::is_test_half(lower);
      check(!detail::resembles_half(name), op, "{}: {} holds folders of images as a half of a data set does; {}", path,
            name, wanted);
    }
    check(!train || !other, op, "{}: the class folder {} is divided into halves itself; {}", path, name, wanted);
  }
  std::vector<std::string> with_images;
  for (const std::string& name : folders)
    if (detail::holds_picture(fs::path(path) / name)) with_images.push_back(name);
  const std::vector<std::string> same = detail::same_subfolders(path, with_images);
  check(same.empty(), op, "{}: {} hold the same folders of images ({}), as halves of a data set do; {}", path,
        detail::joined(with_images), detail::joined(same), wanted);
  return std::nullopt;
}

}  // namespace atlas::inline ATLAS_ABI::data
