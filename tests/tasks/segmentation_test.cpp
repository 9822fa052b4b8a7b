// The task of segmentation: its loss with ignored pixels, what its meter keeps, merges and saves, and what is refused.
#include "atlas/tasks/segmentation.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/core/storage.h"
#include "atlas/data/scenes.h"
#include "atlas/models/presets.h"
#include "atlas/ops/reduce.h"
#include "atlas/tasks/registry.h"
#include "atlas/tensor/create.h"
#include "tests/compare.h"
#include "tests/peak.h"

using namespace atlas;
using namespace atlas::tasks;
using test::has;
using test::message_of;

namespace {

Tensor labels_of(const std::vector<int64_t>& values, int64_t height, int64_t width) {
  Tensor t = empty({std::ssize(values) / (height * width), height, width}, uint8, Device{});
  for (size_t i = 0; i < values.size(); ++i) t.data<uint8_t>()[i] = static_cast<uint8_t>(values[i]);
  return t;
}
/// Logits [1, 1, n, 3] that say `classes`.
Tensor sure_of(const std::vector<int64_t>& classes) {
  Tensor t = zeros({1, 1, std::ssize(classes), 3}, float32, Device{});
  for (int64_t i = 0; i < std::ssize(classes); ++i) t.at<float>({0, 0, i, classes[static_cast<size_t>(i)]}) = 5;
  return t;
}
data::Targets masks_of(const Tensor& labels) {
  data::Targets targets;
  targets.set(data::kMask, {data::TargetKind::mask, labels});
  return targets;
}

}  // namespace

TEST_CASE("the loss is summed over labeled pixels and divided by all; of none it is 0, and so is its gradient") {
  const Tensor logits = zeros({1, 1, 4, 3});
  CHECK(pixel_loss(logits, labels_of({0, 1, 2, 2}, 1, 4)).item() == doctest::Approx(std::log(3)));
  CHECK(pixel_loss(logits, labels_of({0, 255, 255, 2}, 1, 4)).item() == doctest::Approx(std::log(3) / 2));
  Tensor weight = ones({3});
  weight.at<float>({2}) = 3;
  CHECK(pixel_loss(logits, labels_of({0, 255, 255, 2}, 1, 4), 255, weight).item() == doctest::Approx(std::log(3)));
  Tensor x = zeros({1, 1, 4, 3});
  x.set_requires_grad();
  const Tensor none = pixel_loss(x, labels_of({255, 255, 255, 255}, 1, 4));
  CHECK(none.item() == 0);
  none.backward();
  CHECK(sum(abs(x.grad())).item() == 0);
  CHECK(pixel_accuracy(logits, labels_of({255, 255, 255, 255}, 1, 4)) == 0);
  CHECK(has(message_of([&] { pixel_loss(logits, labels_of({0, 1, 2, 3}, 1, 4)); }), "3"));  // no such class
  CHECK(has(message_of([&] { pixel_loss(logits, zeros({1, 1, 4})); }), "needs labels uint8 or int64 [1, H, W]"));
}

TEST_CASE("without a gradient the loss is taken in strips of rows: the same value") {
  manual_seed(4);
  Tensor labels = empty({2, 37, 29}, uint8, Device{});
  for (int64_t i = 0; i < labels.numel(); ++i)
    labels.data<uint8_t>()[i] = static_cast<uint8_t>(i % 7 == 0 ? 255 : (i * i / 11) % 5);
  for (const DType dtype : {float32, float64}) {
    const Tensor logits = randn({2, 9, 7, 5}, dtype), weight = uniform({5}, 0.5, 2, dtype);
    Tensor learned = copy_of(logits);
    learned.set_requires_grad();
    for (const Tensor& w : {Tensor(), weight}) {
      const double whole = pixel_loss(learned, labels, 255, w).item();
      for (const int64_t strip : {int64_t{1}, int64_t{20000}, int64_t{1} << 25}) {
        const Tensor loss = pixel_loss(logits, labels, 255, w, strip);
        CHECK(loss.dtype() == dtype);
        CHECK(loss.item() == doctest::Approx(whole).epsilon(dtype == float64 ? 1e-12 : 1e-6));
      }
    }
    CHECK(pixel_loss(logits, labels.to(int64), 255, {}, 1).item() ==
          doctest::Approx(pixel_loss(learned, labels).item()).epsilon(1e-6));
  }
  CHECK(has(message_of([&] { pixel_loss(zeros({2, 9, 7, 3}), labels, 255, {}, 1); }), "3"));  // no such class
}

TEST_CASE("tests of photographs need memory for strips of them, not for all their logits") {
  manual_seed(5);
  const NoGrad off;
  constexpr int64_t kClasses = 60;
  const auto model = models::make_any_model("upernet-atlas-toy", {.num_classes = kClasses});
  model->eval();
  const std::vector<std::string> names(kClasses, "x");
  // A small image of a large photograph, whole; and a tall one in pieces.
  const Tensor small = randn({1, 64, 64, 3}), tall = randn({1, 2048, 256, 3});
  const data::Targets large = masks_of(full({1, 1024, 1024}, 3, uint8)),
                      same = masks_of(full({1, 2048, 256}, 3, uint8));
  const Segmentation whole(names), pieces(names, {.crop = 128, .stride = 128});
  for (const auto& [task, images, targets] :
       {std::tuple{&whole, &small, &large}, {&pieces, &tall, &same}, {&pieces, &small, &large}}) {
    const int64_t all = (*targets)[data::kMask].numel() * kClasses * 4;
    CHECK(test::peak_of([&, task = task, images = images, targets = targets] {
            task->test_loss(task->outputs(*model, *images, *targets), *targets);
          }) < all / 2);
  }
}

TEST_CASE("gradients flow through the resize") {
  manual_seed(3);
  const Tensor labels = labels_of({0, 1, 2, 255, 1, 1, 0, 2, 2, 2, 1, 0}, 3, 4);
  CHECK(
      gradcheck([&](const std::vector<Tensor>& x) { return pixel_loss(x[0], labels); }, {randn({1, 2, 2, 3}, float64)})
          .checked == 12);
}

TEST_CASE("IoU and accuracies, by hand; absent classes are left out of the means") {
  PixelConfusion c(4);
  //              0: 2 of 3 found, once said of 1; 1: 1 of 2; 2: never true, said once; 3: absent
  c.add(labels_of({0, 0, 1, 1, 0, 2}, 1, 6), labels_of({0, 0, 0, 1, 1, 255}, 1, 6));
  CHECK(c.iou(0) == doctest::Approx(2.0 / 4));
  CHECK(c.iou(1) == doctest::Approx(1.0 / 3));
  CHECK(std::isnan(c.iou(2)));  // its one pixel is ignored
  CHECK(c.mean_iou() == doctest::Approx((0.5 + 1.0 / 3) / 2));
  CHECK(c.mean_accuracy() == doctest::Approx((2.0 / 3 + 0.5) / 2));
  CHECK(c.all_accuracy() == doctest::Approx(3.0 / 5));
  CHECK(has(c.table({"sky", "sea"}), "sky"));
  CHECK(has(message_of([&] { c.add(labels_of({4}, 1, 1), labels_of({0}, 1, 1)); }), "there are 4 classes"));
  PixelConfusion other(4);
  other.load_state(c.state());
  CHECK(other.mean_iou() == c.mean_iou());
  CHECK(PixelConfusion(2).mean_iou() == 0);
}

TEST_CASE("meters of parts merge to that of the whole, whatever came first, and go on from their state") {
  const Segmentation task({"a", "b", "c"}, {.pictures = 2});
  const auto whole = task.meter(false), first = task.meter(false), second = task.meter(false);
  for (int64_t i = 0; i < 6; ++i) {
    const Named outputs = {{"logits", sure_of({i % 3, (i + 1) % 3})}};
    const data::Targets targets = masks_of(labels_of({i % 3, i % 2}, 1, 2));
    const Named losses = task.loss(outputs, targets);
    whole->add(outputs, targets, losses, {i});
    (i % 2 == 0 ? second : first)->add(outputs, targets, losses, {i});
  }
  first->merge(*second);
  const auto loaded = task.meter(false);
  loaded->load_state(whole->state());
  for (const auto* m : {first.get(), loaded.get()}) {
    CHECK(m->images() == 6);
    CHECK(m->value("mIoU") == whole->value("mIoU"));
    CHECK(m->value("loss") == doctest::Approx(whole->value("loss")));
    const auto& a = dynamic_cast<const SegmentationMeter&>(*m).maps();
    const auto& b = dynamic_cast<const SegmentationMeter&>(*whole).maps();
    REQUIRE(a.size() == 2);
    for (const auto& [index, map] : b) CHECK(a.contains(index));
  }
  CHECK(has(message_of([&] { first->merge(*Segmentation({"a", "b"}).meter(false)); }), "with 3 classes"));
}

TEST_CASE("a model in training gives both heads' losses, in tests class maps of the masks' size") {
  manual_seed(1);
  const auto model = models::make_any_model("upernet-mambavision-toy", {.num_classes = 3});
  const Segmentation task({"a", "b", "c"});
  const data::Targets targets = masks_of(labels_of(std::vector<int64_t>(2 * 40 * 50, 1), 40, 50));
  const Tensor images = randn({2, 40, 50, 3});
  Named outputs = task.outputs(*model, images, targets);
  const Named losses = task.loss(outputs, targets);
  REQUIRE(losses.size() == 2);
  CHECK(losses[0].first == "decode.loss_ce");
  CHECK(losses[1].first == "aux.loss_ce");
  // A fresh head says nothing: the auxiliary loss is 0.4 of the other.
  CHECK(losses[1].second.item() / losses[0].second.item() == doctest::Approx(0.4).epsilon(0.05));
  // Nothing is known of any pixel: no loss, no gradient, no NaN.
  const data::Targets nothing = masks_of(labels_of(std::vector<int64_t>(2 * 40 * 50, 255), 40, 50));
  const Tensor none = total(task.loss(outputs, nothing));
  CHECK(none.item() == 0);
  backward(none);
  for (const auto& [name, p] : model->named_parameters())
    if (p.grad().defined())
      for (const double g : to_vector<double>(p.grad().to(float64))) CHECK(g == 0);
  model->eval();
  const NoGrad off;
  data::Targets larger = masks_of(labels_of(std::vector<int64_t>(2 * 80 * 99, 1), 80, 99));
  outputs = task.outputs(*model, images, larger);
  CHECK(at(outputs, "classes").shape() == Shape{2, 80, 99});
  CHECK(task.loss(outputs, larger).size() == 1);
  // In pieces: the classes and the loss of the mean of all.
  const Segmentation sliding({"a", "b", "c"}, {.class_weights = {1, 2, 3}, .crop = 32, .stride = 24});
  outputs = sliding.outputs(*model, images, larger);
  REQUIRE(outputs.size() == 2);
  const Tensor mean = dynamic_cast<const models::Segmenter&>(*model).slide(images, 32, 24);
  CHECK(to_vector<int64_t>(at(outputs, "classes")) == to_vector<int64_t>(models::class_map(mean, {{80, 99}})));
  const Tensor weight = from_vector<float>({1, 2, 3}, {3}, Device{});
  const Named parts = sliding.test_loss(outputs, larger);
  REQUIRE(parts.size() == 1);
  CHECK(parts[0].first == "decode.loss_ce");
  CHECK(parts[0].second.item() ==
        doctest::Approx(pixel_loss(mean, larger[data::kMask], 255, weight).item()).epsilon(1e-6));
  CHECK(sliding.outputs(*model, images, {}).size() == 1);  // without a mask there are no losses
  CHECK(has(message_of([] {
              Segmentation({"a", "b"}, {.class_weights = {0, 0}});
            }),
            "the weights of all 2 classes are 0"));
  CHECK(has(message_of([] {
              Segmentation({"a", "b"}, {.class_weights = {1, INFINITY}});
            }),
            "the weight of class 1 (b)"));
  CHECK(has(message_of([&] {
              Segmentation({"a", "b"}, {.crop = 32, .stride = 24}).outputs(*model, images, larger);
            }),
            "tell 3 classes apart, but the task has 2"));
  for (auto& [name, p] : model->named_parameters())
    if (name == "decode_head.conv_seg.bias") p.detach().fill_(NAN);
  CHECK(has(message_of([&] { sliding.outputs(*model, images, nothing); }), "'decode_head'"));
  const auto classifier = models::make_any_model("mambavision-toy");
  CHECK(message_of([&] { task.outputs(*classifier, images, larger); }) ==
        "[segmentation] the model for classification gives no class to every pixel of images float32[2,40,50,3]: needs "
        "a model for segmentation, with logits [B,h,w,3]");
}

TEST_CASE("logits of other classes than the task's are refused, of either head") {
  const Segmentation task({"a", "b"});
  const data::Targets targets = masks_of(labels_of({0, 1, 1, 0}, 2, 2));
  const Named other_auxiliary = {
      {"logits", zeros({1, 2, 2, 2})}, {"auxiliary", zeros({1, 1, 1, 3})}, {"auxiliary_weight", ones({})}};
  CHECK(message_of([&] {
          task.loss({{"logits", zeros({1, 2, 2, 5})}}, targets);
        }) ==
        "[segmentation] logits float32[1,2,2,5] tell 5 classes apart, but the task has 2: make the model with "
        "num_classes = 2, or name 5 classes for the task");
  CHECK(has(message_of([&] { task.loss(other_auxiliary, targets); }),
            "[segmentation] auxiliary float32[1,1,1,3] tell 3 classes"));
  CHECK(message_of([&] {
          task.loss({{"logits", zeros({1, 2})}}, targets);
        }) == "[segmentation] needs logits [B,h,w,2], got float32[1,2]: is this a model for segmentation?");
}

TEST_CASE("options, and data that has no masks") {
  const TaskKind& kind = find_task("segmentation");
  const data::Scenes pixels(2, 64, data::SceneTruth::pixels), objects(2, 64, data::SceneTruth::objects);
  CHECK(kind.make(pixels, {.options = R"({"class_weights": [1, 1, 2, 2, 0.5]})"}) != nullptr);
  CHECK(has(message_of([&] { kind.make(pixels, {.options = R"({"class_weights": [1, 1]})"}); }), "2 weights for 5"));
  CHECK(has(message_of([&] { kind.make(pixels, {.options = R"({"class_weights": "1,x"})"}); }),
            "'class_weights' of segmentation must be a list of numbers"));
  CHECK(has(message_of([&] { kind.make(pixels, {.options = R"({"class_weights": [1, 1, 2, -2, 2]})"}); }),
            "class_weights"));
  CHECK(has(message_of([&] { kind.make(pixels, {.options = R"({"ratio_low": 3})"}); }), "at most ratio_high"));
  CHECK(has(message_of([&] { kind.make(objects, {}); }), "needs a class for every pixel"));
  CHECK(message_of([&] { kind.make(pixels, {.augmentation = {.mixup = 0.8}}); }) ==
        "[segmentation] mixup = 0.8: it is for images of one class; leave it at 0");
  CHECK(has(message_of([&] { kind.make(pixels, {.augmentation = {.erase = 0.25}}); }), "erase = 0.25: it is for"));
  CHECK(has(message_of([&] { find_task("detection").make(objects, {.augmentation = {.mesa = 0.5}}); }),
            "[detection] mesa = 0.5: it is for"));
  CHECK(has(message_of([&] { task_for("segmentation", "mambavision-toy"); }), "upernet-mambavision-toy"));
}

TEST_CASE("RandAugment and jitter belong to the training of segmenters and detectors too, targets included") {
  const TaskSettings plain{.image_size = 64, .augmentation = {.flip = 0}, .options = R"({"distortion": false})"};
  TaskSettings turned = plain, jittered = plain;
  turned.augmentation.rand_augment = "rand-m9-n3-p1";
  jittered.augmentation.color_jitter = 0.4;
  const data::Scenes pixels(6, 64, data::SceneTruth::pixels), objects(6, 64, data::SceneTruth::objects);
  const auto trained = [](const char* task, const data::Scenes& set, TaskSettings s, int64_t i) {
    if (std::string(task) == "detection") s.options = "";
    data::Sample sample = set.get(i);
    data::Rng rng(3, data::Purpose::sample, 0, i);
    find_task(task).pipeline(s).train.apply(sample, rng);
    return sample;
  };
  int masks = 0, boxes = 0;
  for (int64_t i = 0; i < 6; ++i) {
    const data::Sample was = trained("segmentation", pixels, plain, i), is = trained("segmentation", pixels, turned, i);
    CHECK_FALSE(test::same_bits(was.image, is.image));
    masks += test::same_bits(was.targets[data::kMask], is.targets[data::kMask]) ? 0 : 1;
    const data::Sample jitter = trained("segmentation", pixels, jittered, i);
    CHECK_FALSE(test::same_bits(was.image, jitter.image));
    CHECK(test::same_bits(was.targets[data::kMask], jitter.targets[data::kMask]));
    const data::Sample plainly = trained("detection", objects, plain, i);
    const data::Sample moved = trained("detection", objects, turned, i);
    CHECK_FALSE(test::same_bits(plainly.image, moved.image));
    const Tensor before = plainly.targets["boxes"], after = moved.targets["boxes"];
    boxes += before.shape() == after.shape() && test::same_bits(before, after) ? 0 : 1;
    CHECK_FALSE(test::same_bits(plainly.image, trained("detection", objects, jittered, i).image));
  }
  CHECK(masks >= 1);  // five of the fifteen operations move pixels
  CHECK(boxes >= 1);
}

TEST_CASE("the sheet of pictures and the report") {
  const data::Scenes set(3, 64, data::SceneTruth::pixels);
  const Segmentation task(set.classes(), {.pictures = 2});
  const auto meter = task.meter(false);
  for (int64_t i = 0; i < 3; ++i) {
    Tensor classes = zeros({1, 64, 64}, int64, Device{});
    const data::Targets targets = masks_of(set.get(i).targets[data::kMask].unsqueeze(0));
    const Named outputs = {{"logits", zeros({1, 4, 4, 5}, float32, Device{})}, {"classes", classes}};
    meter->add(outputs, targets, task.loss(outputs, targets), {i});
  }
  const std::string folder = (std::filesystem::temp_directory_path() / "atlas-segmentation-test").string();
  std::filesystem::create_directories(folder);
  const Report report = task.report(set, *meter, {folder, "nothing on scenes"});
  CHECK(has(report.summary, "test mIoU"));
  CHECK(has(report.tables, "background"));
  CHECK(std::filesystem::exists(folder + "/predictions.png"));
  CHECK(std::filesystem::exists(folder + "/confusion.csv"));
  std::filesystem::remove_all(folder);
}
