// Detection is measured against boxes as they were written: training's tests and detect --coco say the same numbers.
#include <doctest/doctest.h>

#include <fstream>

#include "atlas/data/image.h"
#include "atlas/tasks/coco_metric.h"
#include "atlas/tasks/detection.h"
#include "tests/data/data_test.h"
#include "tests/tasks/detection_batch.h"

using namespace atlas;
using atlas_test::Scratch;

TEST_CASE("detection: boxes beyond their picture are measured as written, as detect --coco does it") {
  // The second object reaches far beyond; the third is nowhere in its picture, whose size the file does not say.
  const std::string text = R"({"categories": [{"id": 5, "name": "thing"}],
    "images": [{"id": 3, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}], "annotations": [
    {"image_id": 3, "category_id": 5, "bbox": [4.1, 3, 12.3, 16]},
    {"image_id": 9, "category_id": 5, "bbox": [30, 10, 30, 20.7], "area": 1024.00001},
    {"image_id": 9, "category_id": 5, "bbox": [50, 3, 12, 16]}]})";
  const Scratch scratch;
  for (const char* name : {"a.png", "b.png"}) data::write_png(scratch / name, zeros({32, 40, 3}, uint8, Device{}));
  const auto set = std::make_shared<data::CocoDataset>("set", data::parse_coco(text, "set.json"), scratch.path());
  const tasks::Detection task(set->classes());
  const data::Batch batch = test::batch_of(set, 2, task);
  // A detector finds what is in the picture.
  const std::vector<float> boxes{4.1f, 3, 16.4f, 19, 30, 10, 40, 30.7f};
  CHECK(to_vector<float>(batch.targets["boxes"]) == boxes);
  const tasks::Named found{{"boxes", from_vector(boxes, {2, 4}, Device{})},
                           {"scores", full({2}, 0.9, float32, Device{})},
                           {"labels", zeros({2}, int64, Device{})},
                           {"counts", from_vector<int64_t>({1, 1}, {2}, Device{})}};
  const auto measured = task.meter(false);
  measured->add(found, batch.targets, {}, batch.indices);
  const auto& meter = dynamic_cast<const tasks::DetectionMeter&>(*measured);

  std::vector<tasks::CocoObject> truths, objects = meter.found();
  for (size_t i = 0; i < 2; ++i) {
    for (const tasks::CocoObject& o : tasks::coco_truths(set->file(), i, {32, 40}, false, "picture")) {
      truths.push_back(o);
      CHECK(o.box == meter.truths()[truths.size() - 1].box);
      CHECK(o.area == meter.truths()[truths.size() - 1].area);
    }
    objects[i].image = set->image_id(static_cast<int64_t>(i));
  }
  CHECK(truths.size() == meter.truths().size());
  CHECK(truths[1].box == std::array<double, 4>{30, 10, 30, 20.7});
  const tasks::CocoResult other = tasks::coco_evaluate(truths, objects, tasks::CocoShape::box);
  CHECK(meter.result(tasks::CocoShape::box).numbers == other.numbers);
  CHECK(measured->value("AP") == doctest::Approx(51.0 / 101));  // one of the two: its overlap is a third
}
