// Objects without masks among those that have some: what is learned from them, and what tests make of them; the
// per-class table of masks.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "atlas/autograd/backward.h"
#include "atlas/data/loader.h"
#include "atlas/data/scenes.h"
#include "atlas/models/presets.h"
#include "atlas/tasks/detection.h"
#include "atlas/tasks/detection_pipeline.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/random_input.h"
#include "tests/tasks/detection_batch.h"

using namespace atlas;
using namespace test;

namespace {

/// Two pictures, each with an object of a class of its own; the second one's has no mask.
class TwoImages : public data::Dataset {
 public:
  TwoImages() : Dataset("pair", {"a", "b"}) {}
  int64_t size() const override { return 2; }
  data::Sample get(int64_t index) const override {
    data::Sample s{zeros({64, 64, 3}, uint8, Device{})};
    Tensor mask = zeros({1, 64, 64}, uint8, Device{});
    if (index == 0) mask.slice(1, 3, 19).slice(2, 5, 17).fill_(1);
    s.targets.set("boxes", {data::TargetKind::boxes, from_vector<float>({5, 3, 17, 19}, {1, 4}, Device{})});
    s.targets.set("label", {data::TargetKind::label, full({1}, static_cast<double>(index), int64, Device{})});
    s.targets.set("instance_masks", {data::TargetKind::instance_masks, mask});
    return s;
  }
};

}  // namespace

TEST_CASE("detection: nothing is learned from masks without a pixel, which is what objects without a mask have") {
  const auto set = std::make_shared<data::Scenes>(4, 64, data::SceneTruth::objects);
  const tasks::Detection task(set->classes());
  const data::Batch batch = batch_of(set, 4, task);
  const auto model = models::make_any_model("cascade-mask-rcnn-mambavision-toy", {.image_size = 64, .num_classes = 4});
  model->train();
  struct Outcome {
    models::LossParts losses;
    models::DetectionTrace trace;
  };
  const auto learned = [&](const std::function<void(Tensor)>& change) {
    std::vector<models::ObjectTruth> truths;
    const std::vector<int64_t>& offsets = batch.targets.at("boxes").offsets;
    for (size_t i = 0; i + 1 < offsets.size(); ++i) {
      const auto rows = [&](const char* name) { return batch.targets[name].slice(0, offsets[i], offsets[i + 1]); };
      truths.push_back({rows("boxes"), rows("label").contiguous(), copy_of(rows("instance_masks"))});
      change(truths.back().masks);
    }
    Outcome out;
    manual_seed(5);
    out.losses = dynamic_cast<const models::Detector&>(*model).losses(
        batch.images, truths, std::vector<models::ImageSize>(4, {64, 64}), nullptr, &out.trace);
    return out;
  };
  const Outcome all = learned([](Tensor) {});
  const Outcome some = learned([](Tensor masks) { masks.slice(0, 0, 1).fill_(0); });
  const Outcome none = learned([](Tensor masks) { masks.fill_(0); });
  for (const std::string stage : {"s0", "s1", "s2"}) {
    CAPTURE(stage);
    const auto rows = [&](const Outcome& o) { return o.trace.at(stage + ".mask_logits").size(0); };
    const auto loss = [&](const Outcome& o, const char* part) {
      return tasks::at(o.losses, stage + ".loss_" + part).item();
    };
    CHECK(rows(some) > 0);
    CHECK(rows(some) < rows(all));
    CHECK(some.trace.at(stage + ".mask_targets").size(0) == rows(some));
    CHECK(rows(none) == 0);
    CHECK(loss(some, "mask") > 0);
    CHECK(loss(none, "mask") == 0);
    CHECK(loss(none, "bbox") == doctest::Approx(loss(all, "bbox")));
  }
  backward(tasks::total(none.losses));
}

TEST_CASE("detection: where masks are compared, objects without one are neither found nor missed") {
  // Image 0: an object with a mask and one without, both found; image 1: one without, and a detection far from it.
  const auto object = [](int64_t image, double x, double score, bool mask) {
    tasks::CocoObject o{.image = image, .box = {x, 10, 20, 20}};
    o.score = score;
    o.area = 400;
    if (!mask) return o;
    Tensor m = zeros({60, 100}, uint8, Device{});
    Tensor inside = m.slice(0, 10, 30).slice(1, static_cast<int64_t>(x), static_cast<int64_t>(x) + 20);
    inside.fill_(1);
    o.mask = data::rle_encode(m);
    return o;
  };
  std::vector<tasks::CocoObject> truths{object(0, 10, 0, true), object(0, 50, 0, false), object(1, 10, 0, false)};
  std::vector<tasks::CocoObject> found{object(0, 50, 0.9, true), object(0, 10, 0.8, true)};
  CHECK(tasks::have_masks(truths));
  CHECK(tasks::coco_evaluate(truths, found, tasks::CocoShape::mask).numbers[0] == doctest::Approx(1));
  CHECK(tasks::coco_evaluate(truths, found, tasks::CocoShape::box).numbers[8] == doctest::Approx(2.0 / 3));
  found.push_back(object(1, 70, 0.95, true));
  CHECK(tasks::coco_evaluate(truths, found, tasks::CocoShape::mask).numbers[0] == doctest::Approx(0.5));
  truths.erase(truths.begin());
  CHECK(!tasks::have_masks(truths));
  CHECK(tasks::coco_evaluate(truths, found, tasks::CocoShape::mask).numbers[0] == -1);
}

TEST_CASE("detection: tests of objects without masks, and of sets without") {
  const auto set = std::make_shared<TwoImages>();
  const tasks::Detection task(set->classes());
  const data::Batch batch = batch_of(set, 2, task);
  const tasks::Named found = right_answers(batch);
  auto meter = task.meter(false);
  meter->add(found, batch.targets, {}, batch.indices);
  CHECK(meter->value("mask_AP") == doctest::Approx(1));
  const auto& seen = dynamic_cast<const tasks::DetectionMeter&>(*meter);
  CHECK(seen.truths()[1].mask.height == 0);
  CHECK(seen.truths()[1].area == 12 * 16);
  auto other = task.meter(false);
  other->load_state(meter->state());
  CHECK(other->value("mask_AP") == doctest::Approx(1));
  const auto folder = std::filesystem::temp_directory_path() / "atlas_detection_test_masks";
  std::filesystem::create_directories(folder);
  const tasks::Report report = task.report(*set, *meter, {folder.string(), "toy"});
  CHECK(report.classes.columns == std::vector<std::string>{"class", "AP", "AP50", "mask AP", "mask AP50", "objects"});
  REQUIRE(report.classes.rows.size() == 2);
  CHECK(report.classes.rows[0] == std::vector<std::string>{"a", "100.0 %", "100.0 %", "100.0 %", "100.0 %", "1"});
  CHECK(report.classes.rows[1] == std::vector<std::string>{"b", "100.0 %", "100.0 %", "-", "-", "1"});
  CHECK(report.tables.find("mask AP mask AP50   objects\n") != std::string::npos);
  std::filesystem::remove_all(folder);
  // A set without masks, for a model that gives them.
  data::Targets boxes_alone;
  for (const auto& [name, target] : batch.targets)
    if (name != "instance_masks") boxes_alone.set(name, target);
  auto boxes = task.meter(false);
  boxes->add(found, boxes_alone, {}, batch.indices);
  CHECK(boxes->value("AP") == doctest::Approx(1));
  CHECK(std::isnan(boxes->find("mask_AP")));
}

TEST_CASE("detection: annotated objects have masks of their picture's size, or none; other pictures are named") {
  const auto file = [](const std::string& size) {
    return data::parse_coco(R"({"images": [{"id": 7, "file_name": "a.png")" + size +
                                R"(}], "categories": [{"id": 1, "name": "x"}], "annotations": [
    {"image_id": 7, "category_id": 1, "bbox": [1, 2, 4, 3], "segmentation": [[1, 2, 5, 2, 5, 5, 1, 5]]},
    {"image_id": 7, "category_id": 1, "bbox": [1, 2, 4, 3], "segmentation": []}]})",
                            "f");
  };
  const data::CocoFile unknown = file("");
  const std::vector<tasks::CocoObject> truths = tasks::coco_truths(unknown, 0, {8, 10}, true, "/x/a.png");
  REQUIRE(truths.size() == 2);
  CHECK(truths[0].mask.height == 8);
  CHECK(truths[0].mask.width == 10);
  CHECK(truths[0].mask.area() == 12);
  CHECK(truths[1].mask.height == 0);
  CHECK(tasks::coco_truths(file(R"(, "width": 10, "height": 8)"), 0, {8, 10}, false, "")[0].mask.height == 0);
  CHECK(error_of([&] {
          tasks::coco_truths(file(R"(, "width": 9, "height": 8)"), 0, {8, 10}, true, "/x/a.png");
        }) == "[coco] /x/a.png has 8 x 10 pixels, its annotations say 8 x 9");
  // What is wrong with a mask is in the file, not in the picture.
  const data::CocoFile bad = data::parse_coco(
      R"({"images": [{"id": 7, "file_name": "a.png"}], "categories": [{"id": 1, "name": "x"}], "annotations": [
    {"image_id": 7, "category_id": 1, "bbox": [1, 2, 4, 3], "segmentation": [[1, 2, 5, 2, 5, 1e9]]}]})",
      "f.json");
  CHECK(error_of([&] {
          tasks::coco_truths(bad, 0, {8, 10}, true, "/x/a.png");
        }) ==
        "[coco] f.json, mask of an object of a.png: [rle] corner 5, 1000000000 of a polygon is out of range (100000)");
}
