// Gives every pixel of photographs a class, with a segmenter that train made or with published weights:
//
//   segment --checkpoint runs/leaves/best.ckpt --out runs/segmented leaf.jpg
//   segment --model upernet-mambavision-t --weights upernet_tiny.pth --out runs/rooms photos/
//   segment --checkpoint runs/leaves/best.ckpt --image-size native --slide 512 --out runs/large large.jpg
//
// For each photograph NAME it writes NAME_classes.png (the numbers of the classes, with a palette; of more than 256
// classes gray values of 16 bits) and NAME_overlay.png (colors over the photograph, with a legend), and to areas.jsonl
// a line with the area of each class. Photographs that cannot be read are named and passed over; the exit status is 2
// then.
//
// ctest-needs: train
// ctest: --help
#include <fmt/core.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "atlas/core/parallel.h"
#include "atlas/core/profile.h"
#include "atlas/core/standard_output.h"
#include "atlas/data/class_picture.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/index_png.h"
#include "atlas/data/output_names.h"
#include "atlas/data/plot.h"
#include "atlas/train/interrupt.h"
#include "atlas/train/progress.h"
#include "atlas/train/trained_segmenter.h"
#include "tools/program/model_options.h"

namespace {

namespace data = atlas::data;

struct Settings {
  atlas::train::ModelSource source;
  std::vector<std::string> paths;
  std::string out = "segmented", profile;
  int64_t slide = -1, stride = 0;
  double cover = 0.55;
  int threads = 0;
  bool json = false, list = false;
};

/// Colors over the photograph, and below it which class has which share.
atlas::Tensor overlay(const atlas::Tensor& photo, const atlas::Tensor& classes, const std::vector<std::string>& names,
                      double cover) {
  const std::vector<data::Color> colors = data::class_colors(names);
  std::vector<data::LegendEntry> entries;
  for (const auto& [index, pixels, share] : atlas::train::class_areas(classes)) {
    const auto i = static_cast<size_t>(index);
    entries.push_back({fmt::format("{} {:.1f} %", names[i], 100 * share), colors[i]});
  }
  const int64_t width = std::max<int64_t>(photo.size(1), 240);
  return data::stack_pictures({data::colored(classes, colors, photo, cover), data::legend(entries, width)});
}

int run(const Settings& s) {
  using Clock = std::chrono::steady_clock;
  if (s.threads > 0) atlas::set_num_threads(s.threads);
  std::FILE* const talk = s.json ? stderr : stdout;  // with --json, stdout holds nothing else
  atlas::train::TrainedSegmenter trained = atlas::train::open_segmenter(s.source);
  if (s.slide >= 0) {
    trained.crop = s.slide;
    trained.stride = std::max<int64_t>(1, s.slide * 2 / 3);
  }
  if (s.stride > 0) {
    atlas::check(trained.crop > 0, "segment",
                 "--stride is the distance of pieces, and photographs are not cut: add --slide");
    atlas::check(s.stride <= trained.crop, "segment", "--stride {} leaves gaps between pieces of {}", s.stride,
                 trained.crop);
    trained.stride = s.stride;
  }
  fmt::print(talk, "{}: {} classes, {:.1f} M parameters\n", trained.name, trained.classes.size(),
             static_cast<double>(trained.model->parameter_count()) / 1e6);
  if (!trained.notes.empty()) fmt::print(talk, "{}\n", trained.notes);
  const std::vector<std::string> files = data::find_images(s.paths);
  const auto total = static_cast<int64_t>(files.size());
  const std::vector<std::string> names = data::output_names(s.out, files);
  const std::string areas_file = s.out + "/areas.jsonl";
  std::vector<std::string> outputs{areas_file}, inputs = atlas::train::files_of(s.source);
  for (const std::string& name : names)
    for (const char* ending : {"_classes.png", "_overlay.png"}) outputs.push_back(name + ending);
  inputs.insert(inputs.end(), files.begin(), files.end());
  data::check_inputs_stay(outputs, inputs, "segment");
  data::make_output_folder(s.out, "segment");
  const std::vector<data::Color> colors = data::class_colors(trained.classes);

  atlas::train::Progress bar("segment", total, {.out = stderr, .plain_percent = 0});
  const auto start = Clock::now();
  double computing = 0;
  int64_t done = 0, pixels = 0;
  const atlas::train::InterruptGuard interrupt;
  std::ofstream areas;  // opened with the first result
  for (int64_t i = 0; i < total && !interrupt.requested(); ++i) {
    const std::string& file = files[static_cast<size_t>(i)];
    atlas::Tensor photo;
    try {
      photo = data::read_image(file);
    } catch (const atlas::Error& error) {
      bar.clear();
      fmt::print(stderr, "{}\n", error.what());
      continue;
    }
    const auto before = Clock::now();
    const atlas::Tensor classes = trained.segment(photo);
    computing += std::chrono::duration<double>(Clock::now() - before).count();
    const std::string& name = names[static_cast<size_t>(i)];
    data::write_index_png(name + "_classes.png", classes, colors);
    data::write_png(name + "_overlay.png", overlay(photo, classes, trained.classes, s.cover));
    const std::string line = atlas::train::areas_to_json(file, classes, trained.classes);
    if (!areas.is_open()) areas.open(areas_file);
    areas << line << std::endl;  // at once: what was done stays when the program is ended
    atlas::check(areas.good(), "segment", "cannot write {}", areas_file);
    ++done;
    pixels += classes.numel();
    bar.update(i + 1, {.images = done});
    bar.clear();
    if (s.json) {
      fmt::print("{}\n", line);
    } else {
      fmt::print("\n{} -> {}_overlay.png\n", file, name);
      const auto shares = atlas::train::class_areas(classes);
      for (size_t k = 0; k < std::min<size_t>(shares.size(), 8); ++k)
        fmt::print("  {:6.2f} %  {:<20}  {}\n", 100 * shares[k].share,
                   std::string(static_cast<size_t>(shares[k].share * 20 + 0.5), '#'),
                   trained.classes[static_cast<size_t>(shares[k].index)]);
    }
    atlas::flush_standard_output();
  }
  bar.clear();
  if (!areas.is_open()) areas.open(areas_file);  // nothing was done: no results of an earlier run stay
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  fmt::print(talk, "\n{} image{} in {:.2f} s: {:.2f} images/s, {:.2f} images/s ({:.2f} Mpixel/s) in the model alone\n",
             done, done == 1 ? "" : "s", seconds, static_cast<double>(done) / std::max(seconds, 1e-9),
             static_cast<double>(done) / std::max(computing, 1e-9),
             static_cast<double>(pixels) / 1e6 / std::max(computing, 1e-9));
  if (interrupt.requested()) return 130;
  if (done < total) fmt::print(stderr, "segment: {} of {} images could not be read\n", total - done, total);
  return done == total ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  program::CommandLine app(
      "Gives every pixel of photographs a class, with a segmenter that train made or with published weights.",
      "segment");
  program::add_model_source(app, argc, argv, s.source, {"--crop"});
  app.add("--list-models", s.list, "list what --model knows").group("Model");
  app.add("--out", s.out, "folder for the results");
  app.add("--slide", s.slide,
          "side of overlapping pieces that photographs are cut into; 0: whole ones; -1: as the run was tested")
      .range(-1, 16384);
  app.add("--stride", s.stride,
          "distance of the pieces, at most their side; 0: two thirds of it, or as the run was tested")
      .range(0, 16384);
  app.add("--cover", s.cover, "of the colors over the photograph, in [0, 1]").range(0.0, 1.0);
  app.add_output("--profile", s.profile, "file for a trace of every kernel; tables go to stderr at the end");
  app.add("--threads", s.threads, "threads (0 = all cores)").range(0, 4096);
  app.add("--json", s.json, "the lines of areas.jsonl on stdout, everything else on stderr");
  app.add("images", s.paths, "JPEG, PNG or BMP files, and folders of them").shown_default("");
  return app.run(argc, argv, [&] {
    if (s.list) {
      for (const std::string& name : atlas::models::preset_names("segmentation")) fmt::print("{}\n", name);
      return 0;
    }
    if (s.paths.empty()) throw program::WrongUsage("images is required");
    if (s.json) atlas::check_standard_output_is_free("--json");
    data::check_inputs_stay({s.profile}, s.paths, "segment");
    if (!s.profile.empty()) atlas::profile_program(s.profile);
    return run(s);
  });
}
