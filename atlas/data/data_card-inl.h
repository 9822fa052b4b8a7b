// Bodies of data_card.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>

#include "atlas/core/one_line.h"
#include "atlas/core/parallel.h"
#include "atlas/core/storage.h"
#include "atlas/data/class_list.h"
#include "atlas/data/data_card.h"
#include "atlas/data/folder_halves.h"
#include "atlas/data/picture_files.h"
#include "atlas/data/pixels.h"
#include "atlas/data/plot.h"
#include "atlas/data/select.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// Reads a file, and says what is wrong with it.
inline void inspect_card_file(CardFile& file, const CardOptions& options) {
  try {
    const Bytes bytes = read_file(file.path);
    file.bytes = std::ssize(bytes);
    file.hash = stable_hash(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    const ImageInfo info = inspect_image(bytes, file.path, options.max_pixels);
    file.format = info.format;
    file.orientation = info.orientation;
    file.width = info.orientation >= 5 ? info.height : info.width;
    file.height = info.orientation >= 5 ? info.width : info.height;
    if (options.decode) decode_image(bytes, file.path, options.max_pixels);
  } catch (const Error& error) {
    file.error = error.what();
  }
}

/// Groups of readable files with the same content, in the order of their first files.
inline std::vector<Duplicates> find_duplicates(const std::vector<CardFile>& files) {
  std::map<std::pair<int64_t, uint64_t>, std::vector<size_t>> alike;
  for (size_t i = 0; i < files.size(); ++i)
    if (files[i].error.empty()) alike[{files[i].bytes, files[i].hash}].push_back(i);
  std::vector<Duplicates> found;
  for (auto& [key, group] : alike) {
    // A hash may lie: the bytes decide. One group can be several.
    while (group.size() > 1) {
      const Bytes first = read_file(files[group[0]].path);
      Duplicates same{{group[0]}};
      std::vector<size_t> others;
      for (size_t k = 1; k < group.size(); ++k)
        (read_file(files[group[k]].path) == first ? same.files : others).push_back(group[k]);
      for (const size_t i : same.files) {
        same.across_halves |= files[i].half != files[same.files[0]].half;
        same.across_classes |= files[i].label != files[same.files[0]].label;
      }
      if (same.files.size() > 1) found.push_back(std::move(same));
      group = std::move(others);
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.files[0] < b.files[0]; });
  return found;
}

/// The folders with class folders, and their names as a card shows them.
inline std::vector<std::pair<std::string, std::string>> card_halves(const std::string& folder,
                                                                    const std::vector<std::string>& listed) {
  namespace fs = std::filesystem;
  check(fs::exists(folder), "data_card", "{}: no such folder", folder);
  check(fs::is_directory(folder), "data_card", "{}: is a file, not a folder", folder);
  const std::optional<FolderHalves> halves = find_halves(folder, listed);
  if (!halves) return {{folder, ""}};
  return {{halves->train, fs::path(halves->train).filename().string()},
          {halves->test, fs::path(halves->test).filename().string()}};
}

/// Lists what is there, unread.
inline DataCard list_card(const std::string& folder, const CardOptions& options) {
  namespace fs = std::filesystem;
  DataCard card;
  card.folder = folder;
  const ClassList list = options.class_list.empty() ? ClassList{} : read_class_list(options.class_list);
  const auto halves = card_halves(folder, list.names);
  if (!list.names.empty()) {
    for (const auto& [path, name] : halves) check_listed(list, path, subfolders(path));
    card.classes = list.names;
  } else {
    for (const auto& [path, name] : halves)
      for (const std::string& c : subfolders(path)) card.classes.push_back(c);
    std::sort(card.classes.begin(), card.classes.end());
    card.classes.erase(std::unique(card.classes.begin(), card.classes.end()), card.classes.end());
  }
  for (const auto& [path, name] : halves) {
    std::vector<int64_t>& counts = card.counts.emplace_back(card.classes.size());
    for (size_t c = 0; c < card.classes.size(); ++c) {
      if (!fs::is_directory(fs::path(path) / card.classes[c])) continue;
      const auto [pictures, others] = picture_files(fs::path(path) / card.classes[c]);
      counts[c] = std::ssize(pictures);
      for (const std::string& file : pictures)
        card.files.push_back({.path = file, .half = std::ssize(card.halves), .label = static_cast<int64_t>(c)});
      card.left_out.insert(card.left_out.end(), others.begin(), others.end());
    }
    card.halves.push_back(name);
  }
  check(!card.files.empty(), "data_card", "{}: no images (expected a subfolder per class with {} files){}", folder,
        kPictureFormats, card.left_out.empty() ? "" : ": " + left_out_text(card.left_out, folder));
  return card;
}

inline std::string bar(int64_t n, int64_t most) {
  return std::string(static_cast<size_t>(n == 0 ? 0 : std::max<int64_t>(1, n * 40 / most)), '#');
}

/// A table of classes and their images in each half.
inline std::string class_lines(const DataCard& card) {
  constexpr size_t kAll = 60, kEnds = 15;
  std::vector<std::pair<int64_t, size_t>> order;
  for (size_t c = 0; c < card.classes.size(); ++c) order.emplace_back(card.counts[0][c], c);
  if (order.size() > kAll) std::stable_sort(order.begin(), order.end());
  size_t width = 5;
  for (const std::string& name : card.classes) width = std::max(width, std::min<size_t>(on_one_line(name).size(), 40));
  std::string text = fmt::format("\n{:<{}}", "class", width);
  for (const std::string& half : card.halves) text += fmt::format("  {:>8}", half.empty() ? "images" : half);
  text += "\n";
  for (size_t i = 0; i < order.size(); ++i) {
    if (order.size() > kAll && i == kEnds) {
      text += fmt::format("... {} classes ...\n", order.size() - 2 * kEnds);
      i = order.size() - kEnds;
    }
    text += fmt::format("{:<{}}", on_one_line(card.classes[order[i].second]), width);
    for (const auto& counts : card.counts) text += fmt::format("  {:>8}", counts[order[i].second]);
    text += "\n";
  }
  return text;
}

inline std::string size_lines(const DataCard& card) {
  const std::vector<const CardFile*> good = card.readable();
  if (good.empty()) return "";
  std::string text = fmt::format("\n{:<16}{:>10}{:>10}{:>10}\n", "", "smallest", "median", "largest");
  const auto line = [&](const char* name, int digits, const auto& of) {
    std::vector<double> values;
    for (const CardFile* f : good) values.push_back(of(*f));
    const Spread s = Spread::of(std::move(values));
    text += fmt::format("{:<16}{:>10.{}f}{:>10.{}f}{:>10.{}f}\n", name, s.smallest, digits, s.median, digits, s.largest,
                        digits);
  };
  line("width", 0, [](const CardFile& f) { return static_cast<double>(f.width); });
  line("height", 0, [](const CardFile& f) { return static_cast<double>(f.height); });
  line("width / height", 2,
       [](const CardFile& f) { return static_cast<double>(f.width) / static_cast<double>(f.height); });
  line("KiB", 1, [](const CardFile& f) { return static_cast<double>(f.bytes) / 1024; });
  text += "\nshorter side\n";
  const std::vector<SizeBar> bars = size_histogram(card);
  int64_t most = 1;
  for (const SizeBar& b : bars) most = std::max(most, b.images);
  for (const SizeBar& b : bars)
    text += fmt::format("{:>6} - {:<6}{:>9}  {}\n", b.from, b.to, b.images, bar(b.images, most));
  return text;
}

}  // namespace detail

ATLAS_INLINE const char* format_name(ImageInfo::Format format) {
  return format == ImageInfo::Format::jpeg ? "jpeg" : format == ImageInfo::Format::png ? "png" : "bmp";
}

ATLAS_INLINE std::vector<const CardFile*> DataCard::readable() const {
  std::vector<const CardFile*> good;
  for (const CardFile& f : files)
    if (f.error.empty()) good.push_back(&f);
  return good;
}

ATLAS_INLINE Spread Spread::of(std::vector<double> values) {
  check(!values.empty(), "spread", "needs at least one number");
  std::sort(values.begin(), values.end());
  return {values.front(), values[(values.size() - 1) / 2], values.back()};
}

ATLAS_INLINE DataCard make_data_card(const std::string& folder, const CardOptions& options) {
  namespace fs = std::filesystem;
  try {
    DataCard card = detail::list_card(folder, options);
    std::mutex mutex;
    int64_t done = 0;
    const int64_t all = std::ssize(card.files);
    parallel_for(all, 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) detail::inspect_card_file(card.files[static_cast<size_t>(i)], options);
      if (!options.progress) return;
      const std::lock_guard lock(mutex);
      options.progress(done += end - begin, all);
    });
    card.duplicates = detail::find_duplicates(card.files);
    return card;
  } catch (const fs::filesystem_error& error) {
    fail("data_card", "{}: {} ({})", folder, error.code().message(), error.path1().string());
  }
}

ATLAS_INLINE std::vector<SizeBar> size_histogram(const DataCard& card) {
  std::map<int, int64_t> counts;  // by the power of two that is not above the side
  for (const CardFile* f : card.readable()) {
    int power = 0;
    while ((std::min(f->width, f->height) >> (power + 1)) > 0) ++power;
    ++counts[power];
  }
  std::vector<SizeBar> bars;
  if (counts.empty()) return bars;
  for (int p = counts.begin()->first; p <= counts.rbegin()->first; ++p)
    bars.push_back({int64_t{1} << p, (int64_t{2} << p) - 1, counts.contains(p) ? counts.at(p) : 0});
  return bars;
}

ATLAS_INLINE std::string to_text(const DataCard& card) {
  int64_t bytes = 0;
  std::map<std::string, int64_t> formats;
  std::map<int, int64_t> orientations;
  std::vector<const CardFile*> broken;
  for (const CardFile& f : card.files) {
    bytes += f.bytes;
    if (!f.error.empty()) {
      broken.push_back(&f);
      continue;
    }
    ++formats[format_name(f.format)];
    ++orientations[f.orientation];
  }
  std::string text = fmt::format("{}: {} images of {} classes, {}\n", on_one_line(card.folder), card.files.size(),
                                 card.classes.size(), bytes_text(bytes));
  text += detail::class_lines(card) + detail::size_lines(card);
  text += "\nformats       ";
  for (const auto& [name, n] : formats) text += fmt::format("  {} {}", name, n);
  text += "\norientation   ";
  for (const auto& [number, n] : orientations)
    text += fmt::format("  {} {}", number == 1 ? "upright" : fmt::format("EXIF {}:", number), n);
  text += "\n";
  const auto relative = [&](const CardFile& f) {
    return on_one_line(std::filesystem::path(f.path).lexically_relative(card.folder).string());
  };
  if (!card.left_out.empty()) text += on_one_line(detail::left_out_text(card.left_out, card.folder)) + "\n";
  std::string empty;
  for (size_t h = 0; h < card.halves.size(); ++h)
    for (size_t c = 0; c < card.classes.size(); ++c)
      if (card.counts[h][c] == 0)
        empty += (empty.empty() ? "" : ", ") + (std::filesystem::path(card.halves[h]) / card.classes[c]).string();
  text += fmt::format("\nempty classes   {}\n", empty.empty() ? "none" : on_one_line(empty));
  text += fmt::format("broken files    {}\n", broken.empty() ? "none" : std::to_string(broken.size()));
  for (const CardFile* f : broken) text += fmt::format("  {}\n", f->error);
  text +=
      fmt::format("duplicates      {}\n", card.duplicates.empty() ? "none" : std::to_string(card.duplicates.size()));
  for (const Duplicates& d : card.duplicates) {
    text += "  ";
    for (size_t i = 0; i < d.files.size(); ++i) text += (i > 0 ? " = " : "") + relative(card.files[d.files[i]]);
    text += d.across_halves && d.across_classes ? "  (in both halves, as different classes)\n"
            : d.across_halves                   ? "  (in both halves)\n"
            : d.across_classes                  ? "  (as different classes)\n"
                                                : "\n";
  }
  return text;
}

ATLAS_INLINE Tensor card_sheet(const DataCard& card, int64_t each, int64_t most) {
  constexpr int64_t kCell = 112;
  check(each >= 1 && most >= 1, "card_sheet", "needs at least one picture, got {} of each class and {} in all", each,
        most);
  std::vector<std::vector<size_t>> of_class(card.classes.size());
  for (size_t i = 0; i < card.files.size(); ++i)
    if (card.files[i].error.empty()) of_class[static_cast<size_t>(card.files[i].label)].push_back(i);
  std::vector<size_t> chosen;
  for (const auto& files : of_class)
    for (const int64_t k : choose_evenly(std::vector<int64_t>(files.size(), 0), each))
      if (std::ssize(chosen) < most) chosen.push_back(files[static_cast<size_t>(k)]);
  check(!chosen.empty(), "card_sheet", "{}: no picture can be read", card.folder);
  std::vector<Tile> tiles(chosen.size());
  parallel_for(std::ssize(chosen), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const CardFile& file = card.files[chosen[static_cast<size_t>(i)]];
      Tile& tile = tiles[static_cast<size_t>(i)];
      tile.caption = {card.classes[static_cast<size_t>(file.label)], fmt::format("{} x {}", file.width, file.height)};
      Tensor image;
      try {
        image = read_image(file.path);
      } catch (const Error&) {  // whole, and yet it cannot be decoded
        tile.marked = true;
        tile.caption[1] = "cannot be decoded";
        tile.image = full({kCell, kCell, 3}, 255, uint8);
        continue;
      }
      const int64_t height = image.size(0), width = image.size(1), longer = std::max(height, width);
      // Photographs by the hundred would not fit into memory.
      if (longer > kCell)
        image = resize_image(image, std::max<int64_t>(1, height * kCell / longer),
                             std::max<int64_t>(1, width * kCell / longer), Interpolation::bilinear);
      tile.image = image;
    }
  });
  const int64_t columns = each > 1 && each <= 12 ? each * std::max<int64_t>(1, 12 / each) : 12;
  return contact_sheet(tiles, columns, card.folder, kCell);
}

}  // namespace atlas::inline ATLAS_ABI::data
