// Detection as a task: losses by name, what a test measures, meters merged and saved, images without objects, crowds,
// reports; COCO's results.
#include "atlas/tasks/detection.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "atlas/autograd/backward.h"
#include "atlas/data/detect_augment.h"
#include "atlas/data/loader.h"
#include "atlas/data/rle.h"
#include "atlas/data/scenes.h"
#include "atlas/models/presets.h"
#include "atlas/ops/batch_share.h"
#include "atlas/ops/norm_group.h"
#include "atlas/optim/sgd.h"
#include "atlas/tasks/detection_pipeline.h"
#include "atlas/tensor/create.h"
#include "atlas/train/trainer.h"
#include "tests/ops/random_input.h"
#include "tests/tasks/detection_batch.h"

using namespace atlas;
using namespace test;

namespace {

std::unique_ptr<models::Model> toy(const std::string& options = "") {
  manual_seed(3);
  return models::make_any_model("cascade-mask-rcnn-mambavision-toy",
                                {.image_size = 64, .num_classes = 4, .overrides = options});
}
/// An image without objects.
class Nothing : public data::Dataset {
 public:
  Nothing() : Dataset("nothing", {"a", "b", "c", "d"}) {}
  int64_t size() const override { return 2; }
  data::Sample get(int64_t) const override {
    data::Sample s{zeros({50, 64, 3}, uint8, Device{})};
    s.targets.set("boxes", {data::TargetKind::boxes, zeros({0, 4}, float32, Device{})});
    s.targets.set("label", {data::TargetKind::label, zeros({0}, int64, Device{})});
    s.targets.set("instance_masks", {data::TargetKind::instance_masks, zeros({0, 50, 64}, uint8, Device{})});
    return s;
  }
};

/// Pictures of two sizes, each with one object on a part of it, neither of which the model sees at its own size.
class Sized : public data::Dataset {
 public:
  Sized() : Dataset("sized", {"a", "b", "c", "d"}) {}
  static constexpr std::array<std::array<int64_t, 2>, 2> kSize{{{30, 40}, {20, 90}}};
  int64_t size() const override { return 2; }
  data::Sample get(int64_t index) const override {
    const auto [h, w] = kSize[static_cast<size_t>(index)];
    data::Sample s{zeros({h, w, 3}, uint8, Device{})};
    s.targets.set("boxes", {data::TargetKind::boxes, from_vector<float>({5, 3, 17, 19}, {1, 4}, Device{})});
    s.targets.set("label", {data::TargetKind::label, full({1}, static_cast<double>(index), int64, Device{})});
    Tensor mask = zeros({1, h, w}, uint8, Device{});
    for (int64_t y = 3; y < 19; ++y)
      for (int64_t x = 5; x < 17; ++x) mask.at<uint8_t>({0, y, x}) = 1;
    s.targets.set("instance_masks", {data::TargetKind::instance_masks, mask});
    return s;
  }
};

}  // namespace

TEST_CASE("detection: tests measure in pixels of the pictures as they were") {
  const auto set = std::make_shared<Sized>();
  const tasks::Detection task(set->classes());
  const data::Batch batch = batch_of(set, 2, task);
  CHECK(to_vector<int64_t>(batch.targets[tasks::kSizes]) == std::vector<int64_t>{48, 64, 14, 64});
  CHECK(to_vector<int64_t>(batch.targets[data::kOriginalHeight]) == std::vector<int64_t>{30, 20});
  CHECK(to_vector<int64_t>(batch.targets[data::kOriginalWidth]) == std::vector<int64_t>{40, 90});
  CHECK(to_vector<float>(batch.targets["boxes"]) == std::vector<float>{5, 3, 17, 19, 5, 3, 17, 19});
  CHECK(batch.targets["instance_masks"].shape() == Shape{2, 30, 90});
  const tasks::Named found = right_answers(batch);
  auto meter = task.meter(false);
  meter->add(found, batch.targets, {}, batch.indices);
  CHECK(meter->value("AP") == doctest::Approx(1));
  CHECK(meter->value("mask_AP") == doctest::Approx(1));
  const auto& seen = dynamic_cast<const tasks::DetectionMeter&>(*meter);
  CHECK(seen.sizes().at(1) == std::array<int64_t, 2>{20, 90});
  CHECK(seen.truths()[0].area == 12 * 16);
  CHECK(seen.found()[1].mask.width == 90);
  CHECK(seen.found()[1].mask.area() == 12 * 16);
  // A model's boxes come back to that size: one that fills what it sees fills the picture.
  const auto model = toy(R"({"score_threshold": 0})");
  model->eval();
  const NoGrad off;
  const tasks::Named outputs = task.outputs(*model, batch.images, batch.targets);
  const std::vector<int64_t> counts = to_vector<int64_t>(tasks::at(outputs, "counts"));
  const std::vector<float> boxes = to_vector<float>(tasks::at(outputs, "boxes"));
  REQUIRE(counts[0] + counts[1] > 0);
  for (size_t k = 0; k < boxes.size(); ++k) {
    const auto& size = Sized::kSize[static_cast<int64_t>(k / 4) < counts[0] ? 0 : 1];
    CHECK(boxes[k] <= static_cast<float>(size[k % 2 == 0 ? 1 : 0]) + 1e-3f);
  }
}

TEST_CASE("detection: whoever looks at pictures resizes as tests do, unless told otherwise") {
  const auto sides = [](const data::ResizeShortLong& r) { return std::array{r.shorter.at(0), r.longer}; };
  using Sides = std::array<int64_t, 2>;
  CHECK(sides(tasks::detection_resize({.image_size = 1333})) == Sides{800, 1333});
  CHECK(sides(tasks::detection_resize({.image_size = 96})) == Sides{96, 96});
  const tasks::TaskSettings own{.image_size = 96, .options = R"({"longer": 640, "shorter": 256, "shorter_low": 128})"};
  CHECK(sides(tasks::detection_resize(own)) == Sides{256, 640});
  CHECK(sides(tasks::detection_resize(own, 1000)) == Sides{600, 1000});
  CHECK(sides(tasks::detection_resize(own, 0, 100)) == Sides{100, 640});
  CHECK(sides(tasks::detection_resize(own, 1000, 100)) == Sides{100, 1000});
  CHECK(error_of([&] { tasks::detection_resize(own, 0, 700); }).find("shorter <= longer") != std::string::npos);
  // So do tests.
  data::Sample s{zeros({512, 1024, 3}, uint8, Device{})};
  data::Rng rng(0, data::Purpose::sample, 0, 0);
  tasks::detection_pipeline(own).test.apply(s, rng);
  CHECK(s.image.shape() == Shape{256, 512, 3});
}

TEST_CASE("detection: numbers that are not finite are an error of tests, not pictures without objects") {
  const auto set = std::make_shared<data::Scenes>(2, 64, data::SceneTruth::objects);
  const tasks::Detection task(set->classes());
  const data::Batch batch = batch_of(set, 2, task);
  for (const std::string part :
       {"neck", "rpn_head.rpn_cls", "rpn_head.rpn_reg", "roi_head.bbox_head.1.fc_cls", "roi_head.bbox_head.2.fc_reg"}) {
    CAPTURE(part);
    const auto model = toy();
    for (auto& [name, p] : model->named_parameters())
      if (name.starts_with(part + ".")) p.detach().fill_(NAN);
    model->eval();
    const NoGrad off;
    CHECK(error_of([&] { task.outputs(*model, batch.images, batch.targets); }).find("'" + part + "'") !=
          std::string::npos);
  }
}

TEST_CASE("detection: infinite logits of masks are an error, though a sigmoid makes probabilities of them") {
  const auto set = std::make_shared<data::Scenes>(2, 64, data::SceneTruth::objects);
  const tasks::Detection task(set->classes());
  const data::Batch batch = batch_of(set, 2, task);
  for (const float value : {INFINITY, -INFINITY, NAN}) {
    const auto model = toy(R"({"score_threshold": 0})");
    for (auto& [name, p] : model->named_parameters())
      if (name == "roi_head.mask_head.1.conv_logits.bias") p.detach().fill_(value);
    model->eval();
    const NoGrad off;
    CHECK(error_of([&] {
            task.outputs(*model, batch.images, batch.targets);
          }).find("'roi_head.mask_head.1.conv_logits'") != std::string::npos);
  }
}

TEST_CASE("detection: box heads share the statistics of their batch norm with those who work together") {
  const auto set = std::make_shared<data::Scenes>(4, 64, data::SceneTruth::objects);
  const tasks::Detection task(set->classes());
  const data::Batch batch = batch_of(set, 4, task);
  const auto model = toy(R"({"shared_convs": 2})");
  model->train();
  const auto loss = [&] {
    manual_seed(7);
    return tasks::total(task.outputs(*model, batch.images, batch.targets)).item();
  };
  const double alone = loss();
  int sums = 0;
  struct Back {
    ~Back() { atlas::detail::offered_norm_group() = nullptr; }
  } back;
  atlas::detail::offered_norm_group() =
      std::make_shared<const atlas::detail::SumOverGroup>([&sums](Tensor&) { ++sums; });  // a group of one
  CHECK(loss() == doctest::Approx(alone).epsilon(1e-4));
  CHECK(sums == 12);  // two for each norm, of two convolutions in each of three heads; none of the backbone
}

TEST_CASE("detection: all losses by name, finite, and a gradient for every parameter of the heads") {
  const auto set = std::make_shared<data::Scenes>(8, 64, data::SceneTruth::objects);
  const tasks::Detection task(set->classes());
  const data::Batch batch = batch_of(set, 4, task);
  const auto model = toy();
  model->train();
  const tasks::Named losses = task.loss(task.outputs(*model, batch.images, batch.targets), batch.targets);
  std::string names;
  for (const auto& [name, loss] : losses) {
    names += name + " ";
    CHECK(std::isfinite(loss.item()));
  }
  CHECK(names ==
        "loss_rpn_cls loss_rpn_bbox s0.loss_cls s0.loss_bbox s0.loss_mask s1.loss_cls s1.loss_bbox s1.loss_mask "
        "s2.loss_cls s2.loss_bbox s2.loss_mask ");
  backward(tasks::total(losses));
  for (const auto& p : model->named_parameters())
    if (p.first.find("outnorm") == std::string::npos) CHECK_MESSAGE(p.second.grad().defined(), p.first);
  auto meter = task.meter(true);
  meter->add(losses, batch.targets, losses, batch.indices);
  double sum = 0;
  for (const char* part : {"rpn_cls", "rpn_bbox", "cls", "bbox", "mask"}) sum += meter->value(part);
  CHECK(sum == doctest::Approx(meter->value("loss")));
  CHECK(meter->value("loss") == doctest::Approx(tasks::total(losses).item()));
}

TEST_CASE("detection: the same seed draws the same samples") {
  const auto set = std::make_shared<data::Scenes>(8, 64, data::SceneTruth::objects);
  const tasks::Detection task(set->classes());
  const data::Batch batch = batch_of(set, 4, task);
  const auto model = toy();
  model->train();
  CHECK(same_for_any_threads([&] {
    manual_seed(5);
    return std::vector<Tensor>{tasks::total(task.outputs(*model, batch.images, batch.targets)).detach()};
  }));
}

TEST_CASE("detection: how many random numbers are taken does not depend on the images a process has") {
  const auto set = std::make_shared<data::Scenes>(8, 64, data::SceneTruth::objects);
  const tasks::Detection task(set->classes());
  const auto model = toy();
  model->train();
  const auto streams = [&](int64_t images) {
    const data::Batch batch = batch_of(set, images, task);
    manual_seed(5);
    task.outputs(*model, batch.images, batch.targets);
    return default_generator().stream;
  };
  CHECK(streams(1) == streams(4));
  // An image's numbers are those of its place in the whole batch.
  Generator one{5, 7}, two{5, 7};
  atlas::detail::ImageGenerators whole(&one);
  const Generator third = *whole.of(2);
  const BatchShare share{.rank = 1, .places = {2, 3}, .of = 4};
  const BatchShareScope part(share);
  atlas::detail::ImageGenerators half(&two);
  CHECK(half.of(0)->seed == third.seed);
  CHECK(half.of(0)->stream == third.stream);
  CHECK(half.of(1)->seed != third.seed);
  CHECK(one.stream == two.stream);
}

TEST_CASE("detection: a training whose loss is not finite ends with the module, as that of classifiers does") {
  const auto set = std::make_shared<data::Scenes>(4, 64, data::SceneTruth::objects);
  const tasks::Detection task(set->classes());
  const auto model = toy();
  for (auto& [name, p] : model->named_parameters())
    if (name == "roi_head.bbox_head.1.fc_cls.weight") p.detach().fill_(NAN);
  SGD optimizer(decay_groups(*model, 0), SgdOptions{.lr = 0.01});
  data::LoaderOptions options{.batch_size = 2, .pad = 32};
  options.collate = tasks::collate_for(task);
  data::Loader training(set, options, data::Normalize{}), tests(set, options, data::Normalize{});
  train::Trainer trainer(*model, task, optimizer);
  const std::string message = error_of([&] { trainer.fit(training, tests); });
  CHECK_MESSAGE(message.find("[train] the loss became NaN at update 1 ") == 0, message);
  CHECK_MESSAGE(message.find("'roi_head.bbox_head.1.fc_cls'") != std::string::npos, message);
}

TEST_CASE("detection: displays do not evaluate all that was found at every batch") {
  const tasks::Detection task({"a", "b"});
  CHECK(task.meter(false)->values_so_far().empty());
  CHECK(task.meter(true)->values_so_far().size() == task.meter(true)->values().size());
}

TEST_CASE("detection: images without objects, boxes alone, crowds") {
  const auto nothing = std::make_shared<Nothing>();
  const tasks::Detection task(nothing->classes());
  data::Batch batch = batch_of(nothing, 2, task);
  CHECK(to_vector<int64_t>(batch.targets[tasks::kSizes]) == std::vector<int64_t>{50, 64, 50, 64});
  for (const char* options : {"", R"({"mask": false})"}) {
    const auto model = toy(options);
    model->train();
    const tasks::Named losses = task.outputs(*model, batch.images, batch.targets);
    CHECK(losses.size() == (std::string(options).empty() ? 11 : 8));
    for (const auto& loss : losses) CHECK_MESSAGE(std::isfinite(loss.second.item()), loss.first);
    backward(tasks::total(losses));
    model->eval();
    auto meter = task.meter(false);
    const NoGrad off;
    meter->add(task.outputs(*model, batch.images, batch.targets), batch.targets, {}, batch.indices);
    CHECK(meter->value("AP") == 0);
    CHECK(std::isnan(meter->find("mask_AP")) == !std::string(options).empty());
  }
  // Objects that are all crowds are learned from as if there were none.
  const auto set = std::make_shared<data::Scenes>(2, 64, data::SceneTruth::objects);
  batch = batch_of(set, 2, task);
  const data::Target boxes = batch.targets.at("boxes");
  batch.targets.set("crowd",
                    {data::TargetKind::number, ones({boxes.value.size(0)}, int64, Device{}), 0, boxes.offsets});
  const auto model = toy();
  model->train();
  const tasks::Named losses = task.outputs(*model, batch.images, batch.targets);
  CHECK(tasks::at(losses, "loss_rpn_bbox").item() == 0);
  CHECK(tasks::at(losses, "s0.loss_bbox").item() == 0);
}

TEST_CASE("detection: perfect answers have AP 1; meters are merged, saved and loaded") {
  const auto set = std::make_shared<data::Scenes>(6, 64, data::SceneTruth::objects);
  const tasks::Detection task(set->classes());
  const data::Batch batch = batch_of(set, 6, task);
  const data::Target& boxes = batch.targets.at("boxes");
  std::vector<int64_t> counts;
  for (size_t i = 0; i + 1 < boxes.offsets.size(); ++i) counts.push_back(boxes.offsets[i + 1] - boxes.offsets[i]);
  const tasks::Named found{{"boxes", boxes.value},
                           {"scores", full({boxes.value.size(0)}, 0.9, float32, Device{})},
                           {"labels", batch.targets["label"]},
                           {"counts", from_vector(counts, {6}, Device{})}};
  auto one = task.meter(false);
  one->add(found, batch.targets, {}, batch.indices);
  CHECK(one->value("AP") == doctest::Approx(1));
  CHECK(one->images() == 6);
  auto two = task.meter(false);
  two->load_state(one->state());
  CHECK(two->value("AP") == one->value("AP"));
  auto other = task.meter(false);
  other->merge(*two);
  CHECK(other->images() == 6);
  CHECK(other->value("AP75") == one->value("AP75"));
  CHECK(error_of([&] { one->merge(*task.meter(true)); }).find("can be merged") != std::string::npos);

  const auto folder = std::filesystem::temp_directory_path() / "atlas_detection_test";
  std::filesystem::create_directories(folder);
  const tasks::Report report = task.report(*set, *one, {folder.string(), "toy"});
  CHECK(report.summary == "AP 100.0 %, AP50 100.0 %");
  CHECK(std::filesystem::exists(report.files.at(0).second));
  CHECK(report.tables.find("circle") != std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST_CASE("detection: on a sheet objects are drawn after the photograph is reduced, where they lie then") {
  const Tensor photo = full({200, 400, 3}, 255.0, uint8);
  Tensor mask = zeros({200, 400}, uint8);
  Tensor left = mask.slice(1, 0, 100);
  left.fill_(1);
  tasks::CocoObject o;
  o.box = {240, 40, 80, 120};
  o.mask = data::rle_encode(mask);
  const Tensor picture = tasks::draw_reduced(photo, {o}, {200, 400}, 100, {"x"});
  CHECK(picture.shape() == Shape{50, 100, 3});
  const auto white = [&](int64_t y, int64_t x) { return picture.at<uint8_t>({y, x, 2}) == 255; };
  CHECK_FALSE(white(25, 10));  // under the mask
  CHECK(white(25, 40));        // beside it
  CHECK_FALSE(white(25, 60));  // the box's left line, of one pixel
  CHECK(white(25, 62));
  CHECK(white(25, 70));
}

TEST_CASE("detection: errors") {
  const auto set = std::make_shared<data::Scenes>(2, 64, data::SceneTruth::pixels);
  CHECK(error_of([&] {
          tasks::make_detection(*set, {.image_size = 64});
        }).starts_with("[detection] needs objects (the targets 'boxes' and 'label'), but scenes has: mask"));
  CHECK(error_of([] { tasks::Detection task({}); }) == "[detection] needs at least one class");
  data::Rng rng(0, data::Purpose::sample, 0, 0);
  CHECK(error_of([&] {
          data::ResizeShortLong{{16384}, 16384}(zeros({60, 80, 3}, uint8, Device{}), rng);
        }).find("80 x 60 pixels would become 16384 x 12288, more than the 33554432 that are allowed") !=
        std::string::npos);
  const tasks::Detection task({"a", "b"});
  const Tensor images = zeros({1, 64, 64, 3});
  CHECK(
      error_of([&] { task.outputs(*toy(), images, {}); }) ==
      "[detection] the model for images float32[1,64,64,3] tells 4 classes of objects apart, but the task has 2: make "
      "the model with num_classes = 2, or name 4 classes for the task");
  CHECK(error_of([&] { task.outputs(*models::make_any_model("mambavision-toy"), images, {}); }) ==
        "[detection] the model for classification finds no objects in images float32[1,64,64,3]: needs a model for "
        "detection, of 2 classes");
}

TEST_CASE("coco results: a line for each object, with the file's ids, masks escaped") {
  tasks::CocoObject o{.image = 7, .category = 1, .box = {1, 2, 3, 4}};
  o.score = 0.5;
  CHECK(tasks::coco_results({o}, {3, 90}) ==
        "[{\"image_id\": 7, \"category_id\": 90, \"bbox\": [1.000, 2.000, 3.000, 4.000], \"score\": 0.500000}]\n");
  o.mask = {1, 12, {12}};
  CHECK(tasks::coco_results({o}).find(R"("segmentation": {"size": [1, 12], "counts": "<"})") != std::string::npos);
  o.mask = {1, 1 << 20, {1 << 20}};
  const std::string text = data::rle_to_string(o.mask);
  std::string escaped;
  for (const char c : text) escaped += c == '\\' ? std::string("\\\\") : std::string(1, c);
  CHECK(tasks::coco_results({o}).find(escaped) != std::string::npos);
  CHECK(error_of([&] { tasks::coco_results({o}, {3}); }) == "[coco] class 1 has no id among 1");
}
