// What a folder of pictures by class holds, before a model learns from it: images of each class, sizes, formats,
// orientations, broken files, duplicates (also between training and test), and a sheet of pictures.
//
//   data_card photos --sheet sheet.png
//   data_card imagenet --classes in100.txt --json > card.json
//
// Every file is read once, on all cores; --decode also decodes every picture.
#include "atlas/data/data_card.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "atlas/core/parallel.h"
#include "atlas/data/output_names.h"
#include "atlas/train/progress.h"
#include "tools/program/command_line.h"

namespace {

namespace data = atlas::data;
using nlohmann::ordered_json;

/// Smallest, median and largest of a number that every readable picture has.
template <class Of>
ordered_json spread(const data::DataCard& card, const Of& of) {
  std::vector<double> values;
  for (const data::CardFile* f : card.readable()) values.push_back(of(*f));
  if (values.empty()) return nullptr;
  const data::Spread s = data::Spread::of(std::move(values));
  return {{"smallest", s.smallest}, {"median", s.median}, {"largest", s.largest}};
}

ordered_json to_json(const data::DataCard& card) {
  ordered_json j;
  j["folder"] = card.folder;
  j["images"] = card.files.size();
  j["halves"] = card.halves;
  j["classes"] = ordered_json::array();
  for (size_t c = 0; c < card.classes.size(); ++c) {
    ordered_json counts = ordered_json::array();
    for (const auto& half : card.counts) counts.push_back(half[c]);
    j["classes"].push_back({{"name", card.classes[c]}, {"images", counts}});
  }
  j["width"] = spread(card, [](const data::CardFile& f) { return static_cast<double>(f.width); });
  j["height"] = spread(card, [](const data::CardFile& f) { return static_cast<double>(f.height); });
  j["bytes"] = spread(card, [](const data::CardFile& f) { return static_cast<double>(f.bytes); });
  j["shorter_side"] = ordered_json::array();
  for (const data::SizeBar& b : data::size_histogram(card))
    j["shorter_side"].push_back({{"from", b.from}, {"to", b.to}, {"images", b.images}});
  j["formats"] = ordered_json::object();
  j["orientations"] = ordered_json::object();
  const auto count = [](ordered_json& entry) { entry = entry.is_null() ? 1 : entry.get<int64_t>() + 1; };
  for (const data::CardFile* f : card.readable()) {
    count(j["formats"][data::format_name(f->format)]);
    count(j["orientations"][std::to_string(f->orientation)]);
  }
  j["left_out"] = card.left_out;
  j["broken"] = ordered_json::array();
  for (const data::CardFile& f : card.files)
    if (!f.error.empty()) j["broken"].push_back({{"file", f.path}, {"reason", f.error}});
  j["duplicates"] = ordered_json::array();
  for (const data::Duplicates& d : card.duplicates) {
    ordered_json files = ordered_json::array();
    for (const size_t i : d.files) files.push_back(card.files[i].path);
    j["duplicates"].push_back(
        {{"files", files}, {"across_halves", d.across_halves}, {"across_classes", d.across_classes}});
  }
  return j;
}

}  // namespace

int main(int argc, char** argv) {
  data::CardOptions options;
  std::string folder, sheet;
  bool json = false;
  int64_t threads = 0, each = 4;
  program::CommandLine app(
      "Says what a folder of pictures by class holds: classes, sizes, formats, broken files, duplicates.", "data_card");
  app.add("folder", folder, "a subfolder of pictures per class, or train/ and val/ that have them").required();
  app.add("--classes", options.class_list, "text file with the classes to look at, a folder name a line");
  app.add_output("--sheet", sheet, "PNG file with pictures of every class");
  app.add("--per-class", each, "pictures of each class on the sheet").range(1, 100);
  app.add("--decode", options.decode, "decode every picture: finds files that are whole, but damaged inside");
  app.add("--json", json, "print JSON, with every file that is broken or there twice");
  app.add("--threads", threads, "threads that read files (0 = all cores)").range(0, 4096);
  return app.run(argc, argv, [&] {
    if (threads > 0) atlas::set_num_threads(static_cast<int>(threads));
    std::optional<atlas::train::Progress> bar;
    options.progress = [&](int64_t done, int64_t all) {
      if (all < 1000) return;  // seconds at the most
      if (!bar) bar.emplace("reading", all, atlas::train::ProgressOptions{.out = stderr});
      bar->update(done, {.images = done});
      if (done == all) bar->finish();
    };
    const data::DataCard card = data::make_data_card(folder, options);
    std::vector<std::string> read{options.class_list};
    for (const data::CardFile& f : card.files) read.push_back(f.path);
    data::check_inputs_stay({sheet}, read, "data_card");
    fmt::print("{}", json ? to_json(card).dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n"
                          : data::to_text(card));
    if (!sheet.empty()) data::write_png(sheet, data::card_sheet(card, each));
    return 0;
  });
}
