// Finds objects on pictures, with a detector that train made or with published weights:
//
//   detect --checkpoint runs/cells/best.ckpt --out found photos/
//   detect --model cascade-mask-rcnn-mambavision-t --weights t.pth --classes coco.txt street.jpg
//   detect --checkpoint best.ckpt --coco annotations/val.json --json results.json val/
//
// Each picture gets a line for each object, and with --out a copy with boxes, names, scores and masks. --json writes
// what was found in COCO's format for results; --coco takes the numbers of pictures and classes from an annotation
// file, and compares (COCO's twelve numbers). Unreadable pictures are named and passed over; the exit status is 2 then.
//
// ctest: --list-models

#include <fmt/core.h>

#include <filesystem>
#include <map>

#include "atlas/autograd/node.h"
#include "atlas/core/select_device.h"
#include "atlas/data/coco.h"
#include "atlas/data/detect_augment.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/output_names.h"
#include "atlas/ops/boxes.h"
#include "atlas/ops/join.h"
#include "atlas/tasks/detection.h"
#include "atlas/train/progress.h"
#include "atlas/train/run_folder.h"
#include "atlas/train/setup.h"
#include "atlas/train/start.h"
#include "atlas/train/trained_model.h"
#include "tools/program/command_line.h"

namespace {
using namespace atlas;

struct Settings {
  std::string checkpoint, model, weights, model_options, classes, out, json, coco, device = "auto";
  std::vector<std::string> paths;
  double threshold = 0.5;
  int64_t top = 100, longer = 0, shorter = 0;
  bool list = false;
};

/// A detector and how pictures are made ready for it.
struct Ready {
  std::unique_ptr<models::Model> owner;
  const models::Detector* model = nullptr;
  std::vector<std::string> classes;
  data::Normalize normalize;
  data::ResizeShortLong resize;
};

Ready open_detector(const Settings& s) {
  check(s.checkpoint.empty() != s.model.empty(), "detect",
        "name a model with --checkpoint FILE, or with --model NAME --weights FILE");
  Ready r;
  if (!s.checkpoint.empty()) {
    train::SavedModel saved = train::load_saved_model(s.checkpoint);
    r.owner = std::move(saved.model);
    r.classes = std::move(saved.classes);
    r.normalize = train::normalization_of(saved.config);
  } else {
    check(!s.weights.empty(), "detect", "--model {} needs --weights FILE", s.model);
    r.owner = models::make_any_model(
        s.model, {.num_classes = train::classes_for(s.model, s.weights), .overrides = s.model_options});
    if (const std::string notes = train::load_weights(*r.owner, s.weights); !notes.empty()) fmt::print("{}\n", notes);
    for (int64_t i = 0; i < r.owner->num_classes(); ++i) r.classes.push_back(fmt::format("class {}", i));
  }
  if (!s.classes.empty()) r.classes = train::read_class_names(s.classes, r.owner->num_classes());
  r.model = dynamic_cast<const models::Detector*>(r.owner.get());
  check(r.model != nullptr, "detect", "the model is made for {}, and a detector is asked for", r.owner->task());
  r.owner->eval();
  r.owner->to(select_device(s.device));
  r.resize.longer = s.longer > 0 ? s.longer : r.model->image_size();
  const bool large = r.resize.longer >= 480;
  r.resize.shorter = {s.shorter > 0 ? s.shorter : large ? (r.resize.longer * 3 + 2) / 5 : r.resize.longer};
  return r;
}

/// What is on a picture, best first, in its own pixels.
std::vector<tasks::CocoObject> find_objects(const Ready& r, const Tensor& picture, int64_t top) {
  data::Rng rng(0, data::Purpose::sample, 0, 0);
  const Tensor x = r.normalize(r.resize(picture, rng), rng);
  const int64_t h = x.size(0), w = x.size(1), down = (32 - h % 32) % 32, right = (32 - w % 32) % 32;
  const Tensor images = pad(x, {0, 0, 0}, {down, right, 0}).unsqueeze(0).to(r.owner->device());
  const models::ImageSize original{picture.size(0), picture.size(1)};
  const models::Detections found = r.model->predict(images, {{h, w}}, {original})[0];
  const Tensor boxes = on_host(found.boxes.to(float32)), scores = on_host(found.scores.to(float32));
  const std::vector<int64_t> labels = to_vector<int64_t>(found.labels);
  std::vector<tasks::CocoObject> all;
  for (int64_t i = 0; i < std::min<int64_t>(top, std::ssize(labels)); ++i) {
    tasks::CocoObject o{.category = labels[static_cast<size_t>(i)]};
    const float* b = boxes.data<float>() + 4 * i;
    const auto at = [&](int k) { return static_cast<double>(b[k]); };
    o.box = {at(0), at(1), at(2) - at(0), at(3) - at(1)};
    o.score = static_cast<double>(scores.data<float>()[i]);
    if (found.masks.defined())
      o.mask = data::rle_encode(paste_masks(found.masks.slice(0, i, i + 1), found.boxes.slice(0, i, i + 1), original[0],
                                            original[1], 0.5)[0]);
    all.push_back(std::move(o));
  }
  return all;
}

int run(const Settings& s) {
  const Ready r = open_detector(s);
  data::CocoFile annotations;
  std::map<std::string, size_t> known;  // pictures of the annotation file, by name
  if (!s.coco.empty()) {
    annotations = data::read_coco(s.coco);
    check(std::ssize(annotations.categories) == r.model->num_classes(), "detect", "{} has {} categories, the model {}",
          s.coco, annotations.categories.size(), r.model->num_classes());
    for (size_t i = 0; i < annotations.images.size(); ++i)
      known[std::filesystem::path(annotations.images[i].file).filename().string()] = i;
  }
  const std::vector<std::string> files = data::find_images(s.paths);
  std::vector<std::string> inputs = files, outputs = data::output_names(s.out, files);
  inputs.insert(inputs.end(), {s.checkpoint, s.weights, s.model_options, s.classes, s.coco});
  for (std::string& name : outputs) name = s.out.empty() ? "" : name + ".png";
  outputs.push_back(s.json);
  data::check_inputs_stay(outputs, inputs, "detect");
  if (!s.out.empty()) std::filesystem::create_directories(s.out);
  std::vector<tasks::CocoObject> truths, found;
  train::Progress bar("detect", std::ssize(files), {.out = stderr, .plain_percent = 0});
  const NoGrad off;
  int64_t done = 0, number = 0;
  for (const std::string& file : files) {
    bar.update(++number, {.images = done});
    bar.clear();
    const auto known_as = known.find(std::filesystem::path(file).filename().string());
    Tensor picture;
    try {  // only reading: the next picture would not mend what else goes wrong
      check(s.coco.empty() || known_as != known.end(), "detect", "{} is not in {}", file, s.coco);
      picture = data::read_image(file);
    } catch (const Error& e) {
      fmt::print(stderr, "{}\n", e.what());
      continue;
    }
    std::vector<tasks::CocoObject> objects = find_objects(r, picture, s.top), shown;
    fmt::print("{}\n", file);
    for (tasks::CocoObject& o : objects) {
      o.image = s.coco.empty() ? number : annotations.images[known_as->second].id;
      if (o.score < s.threshold) continue;
      shown.push_back(o);
      fmt::print("  {:5.1f} %  {:<20} {:6.0f} {:6.0f} {:6.0f} {:6.0f}\n", 100 * o.score,
                 r.classes[static_cast<size_t>(o.category)], o.box[0], o.box[1], o.box[2], o.box[3]);
    }
    if (!s.out.empty())
      data::write_png(outputs[static_cast<size_t>(number - 1)], tasks::draw_objects(picture, shown, r.classes));
    if (!s.coco.empty())
      for (tasks::CocoObject& t : tasks::coco_truths(annotations, known_as->second, r.model->with_masks()))
        truths.push_back(std::move(t));
    found.insert(found.end(), objects.begin(), objects.end());
    ++done;
  }
  bar.clear();
  if (!s.json.empty()) {
    std::vector<int64_t> ids;
    for (const auto& category : annotations.categories) ids.push_back(category.id);
    train::write_text(s.json, tasks::coco_results(found, ids));
  }
  if (!s.coco.empty()) {
    fmt::print("\nboxes\n{}", tasks::coco_evaluate(truths, found, tasks::CocoShape::box).text());
    if (r.model->with_masks())
      fmt::print("\nmasks\n{}", tasks::coco_evaluate(truths, found, tasks::CocoShape::mask).text());
    if (const std::string odd = annotations.counts.str(); !odd.empty()) fmt::print("{}: {}\n", s.coco, odd);
  }
  fmt::print("\n{} of {} pictures\n", done, files.size());
  return done == std::ssize(files) ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  program::CommandLine app("Finds objects on pictures.", "detect");
  app.add("--checkpoint", s.checkpoint, "best.ckpt or last.ckpt of a training run");
  app.add("--model", s.model, "preset whose weights are in --weights");
  app.add("--weights", s.weights, "weights for --model: a PyTorch file or safetensors");
  app.add("--model-options", s.model_options, "JSON object that overrides fields of the preset");
  app.add("--classes", s.classes, "text file with the names of the classes, one per line");
  app.add("--threshold", s.threshold, "least score shown").range(0.0, 1.0);
  app.add("--top", s.top, "objects per picture, at most").range(1, 100000);
  app.add("--longer", s.longer, "bound of longer sides (0 = the model's)").range(0, 16384);
  app.add("--shorter", s.shorter, "of shorter ones (0 = 0.6 of it from 480 on)").range(0, 16384);
  app.add("--out", s.out, "folder for pictures with what was found");
  app.add_output("--json", s.json, "file for what was found, in COCO's format for results");
  app.add("--coco", s.coco, "annotation file of the pictures: their numbers, and what to compare with");
  app.add("--device", s.device, "where to compute: cpu, cuda, cuda:N, or auto");
  app.add("--list-models", s.list, "list what --model knows");
  app.add("images", s.paths, "JPEG, PNG or BMP files, and folders of them").shown_default("");
  return app.run(argc, argv, [&] {
    if (s.paths.empty() && !s.list) throw program::WrongUsage("images is required");
    if (!s.list) return run(s);
    for (const std::string& name : models::preset_names("detection")) fmt::print("{}\n", name);
    return 0;
  });
}
