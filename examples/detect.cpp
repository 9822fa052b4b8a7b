// Finds objects on pictures, with a detector that train made or with published weights:
//
//   detect --checkpoint runs/cells/best.ckpt --out found photos/
//   detect --model cascade-mask-rcnn-mambavision-t --weights t.pth --classes coco.txt street.jpg
//   detect --checkpoint best.ckpt --coco annotations/val.json --json results.json val/
//
// Each picture gets a line for each object, and with --out a copy with boxes, names, scores and masks. --json writes
// what was found in COCO's format for results; --coco takes the numbers of pictures and classes from an annotation
// file, and compares (COCO's twelve numbers). Pictures that are unreadable, not in that file or annotated wrongly are
// named and passed over; the exit status is 2 then. Those of a folder that are not in the file, where all splits share
// it, are counted and passed over.
//
// ctest: --list-models

#include <fmt/core.h>

#include <algorithm>

#include "atlas/data/coco_match.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/output_names.h"
#include "atlas/models/presets.h"
#include "atlas/tasks/detection.h"
#include "atlas/train/interrupt.h"
#include "atlas/train/progress.h"
#include "atlas/train/run_folder.h"
#include "atlas/train/trained_detector.h"
#include "tools/program/command_line.h"

namespace {
using namespace atlas;

struct Settings {
  train::ModelSource source;
  std::string out, json, coco;
  std::vector<std::string> paths;
  double threshold = 0.5;
  int64_t top = 100, longer = 0, shorter = 0;
  bool list = false;
};

constexpr const char* kFooter =
    "With --coco a picture is the image whose file_name agrees with the most of the end of its path. Categories "
    "belong\n"
    "to the classes of the same name, in any order; to those of the same number where the model has no names "
    "(--weights\n"
    "without --classes).";

/// The annotation file, if one is given, its categories in the order of the model's classes.
data::CocoFile read_annotations(const Settings& s, const train::TrainedDetector& detector) {
  if (s.coco.empty()) return {};
  data::CocoFile file = data::read_coco(s.coco);
  if (detector.named)
    data::order_categories(file, detector.classes, s.coco);
  else
    check(file.categories.size() == detector.classes.size(), "detect", "{} has {} categories, the model {} classes",
          s.coco, file.categories.size(), detector.classes.size());
  return file;
}

/// Leaves out pictures of folders that the annotation file does not know: where splits share a folder, those of others.
void keep_annotated(const Settings& s, std::vector<std::string>& files, std::vector<int64_t>& images) {
  if (s.coco.empty()) return;
  size_t kept = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    if (images[i] < 0 && std::find(s.paths.begin(), s.paths.end(), files[i]) == s.paths.end()) continue;
    files[kept] = files[i];
    images[kept++] = images[i];
  }
  check(kept > 0, "detect", "none of the {} pictures is in {}", files.size(), s.coco);
  if (kept < files.size())
    fmt::print("{} of {} pictures are not in {}: passed over\n", files.size() - kept, files.size(), s.coco);
  files.resize(kept);
  images.resize(kept);
}

void print_numbers(const Settings& s, const data::CocoFile& annotations, const std::vector<tasks::CocoObject>& truths,
                   const std::vector<tasks::CocoObject>& found) {
  fmt::print("\nboxes\n{}", tasks::coco_evaluate(truths, found, tasks::CocoShape::box).text());
  if (tasks::have_masks(truths))
    fmt::print("\nmasks\n{}", tasks::coco_evaluate(truths, found, tasks::CocoShape::mask).text());
  if (const std::string odd = annotations.counts.str(); !odd.empty()) fmt::print("{}: {}\n", s.coco, odd);
}

int run(const Settings& s) {
  const train::TrainedDetector detector = train::open_detector(s.source, s.longer, s.shorter);
  if (!detector.notes.empty()) fmt::print("{}\n", detector.notes);
  const data::CocoFile annotations = read_annotations(s, detector);
  std::vector<std::string> files = data::find_images(s.paths);
  std::vector<int64_t> images = data::match_pictures(annotations, files, s.coco);
  keep_annotated(s, files, images);
  std::vector<std::string> inputs = train::files_of(s.source), outputs = data::output_names(s.out, files);
  inputs.insert(inputs.end(), files.begin(), files.end());
  inputs.push_back(s.coco);
  for (std::string& name : outputs) name = s.out.empty() ? "" : name + ".png";
  outputs.push_back(s.json);
  data::check_inputs_stay(outputs, inputs, "detect");
  if (!s.out.empty()) data::make_output_folder(s.out, "detect");
  std::vector<tasks::CocoObject> truths, found;
  train::Progress bar("detect", std::ssize(files), {.out = stderr, .plain_percent = 0});
  int64_t done = 0;
  const train::InterruptGuard interrupt;
  const auto write_json = [&] {
    std::vector<int64_t> ids;
    for (const auto& category : annotations.categories) ids.push_back(category.id);
    if (!s.json.empty()) train::write_text(s.json, tasks::coco_results(found, ids));
  };
  for (size_t i = 0; i < files.size() && !interrupt.requested(); ++i) {
    const std::string& file = files[i];
    const auto number = static_cast<int64_t>(i) + 1;
    bar.update(number, {.images = done});
    bar.clear();
    Tensor picture;
    std::vector<tasks::CocoObject> annotated;
    try {  // only reading: the next picture would not mend what else goes wrong
      check(s.coco.empty() || images[i] >= 0, "detect", "{} is not in {}", file, s.coco);
      picture = data::read_image(file);
      if (!s.coco.empty())
        annotated = tasks::coco_truths(annotations, static_cast<size_t>(images[i]), {picture.size(0), picture.size(1)},
                                       detector.model->with_masks(), file);
    } catch (const Error& e) {
      fmt::print(stderr, "{}\n", e.what());
      continue;
    }
    std::vector<tasks::CocoObject> objects = detector.find(picture, s.top), shown;
    fmt::print("{}\n", file);
    for (tasks::CocoObject& o : objects) {
      o.image = s.coco.empty() ? number : annotations.images[static_cast<size_t>(images[i])].id;
      if (o.score < s.threshold) continue;
      shown.push_back(o);
      fmt::print("  {:5.1f} %  {:<20} {:6.0f} {:6.0f} {:6.0f} {:6.0f}\n", 100 * o.score,
                 detector.classes[static_cast<size_t>(o.category)], o.box[0], o.box[1], o.box[2], o.box[3]);
    }
    truths.insert(truths.end(), annotated.begin(), annotated.end());
    found.insert(found.end(), objects.begin(), objects.end());
    ++done;
    if (s.out.empty()) continue;
    try {
      data::write_png(outputs[i], tasks::draw_objects(picture, shown, detector.classes));
    } catch (const Error&) {  // what was found is not lost with it
      write_json();
      throw;
    }
  }
  bar.clear();
  write_json();
  if (!s.coco.empty()) print_numbers(s, annotations, truths, found);
  fmt::print("\n{} of {} pictures\n", done, files.size());
  if (interrupt.requested()) return 130;
  return done == std::ssize(files) ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  program::CommandLine app("Finds objects on pictures.", "detect");
  app.add("--checkpoint", s.source.checkpoint, "best.ckpt or last.ckpt of a training run");
  app.add("--model", s.source.model, "preset whose weights are in --weights");
  app.add("--weights", s.source.weights, "weights for --model: a PyTorch file or safetensors");
  app.add("--model-options", s.source.model_options,
          "JSON object that overrides fields of the preset, or a file that holds one");
  app.add("--classes", s.source.classes, "text file with the names of the classes, one per line");
  app.add("--threshold", s.threshold,
          "least score shown (the model itself leaves out less than its score_threshold, 0.05)")
      .range(0.0, 1.0);
  app.add("--top", s.top, "objects per picture, at most (the model itself: its detections, 100)").range(1, 100000);
  app.add("--longer", s.longer, "bound of pictures' longer sides in pixels (0 = as the run was tested, or the model's)")
      .range(0, 16384);
  app.add("--shorter", s.shorter,
          "length of shorter sides where the longer stay in bounds, at most --longer (0 = as the run was tested; of a "
          "new "
          "--longer 0.6 from 480 on, else all)")
      .range(0, 16384);
  app.add("--out", s.out, "folder for pictures with what was found");
  app.add_output("--json", s.json, "file for what was found, in COCO's format for results");
  app.add("--coco", s.coco, "annotation file of the pictures: their numbers, and what to compare with");
  app.add("--device", s.source.device, "where to compute: cpu, cuda, cuda:N, or auto");
  app.add("--list-models", s.list, "list what --model knows");
  app.add("images", s.paths, "JPEG, PNG or BMP files, and folders of them").shown_default("");
  app.footer(kFooter);
  return app.run(argc, argv, [&] {
    if (s.paths.empty() && !s.list) throw program::WrongUsage("images is required");
    if (!s.list) return run(s);
    for (const std::string& name : models::preset_names("detection")) fmt::print("{}\n", name);
    return 0;
  });
}
