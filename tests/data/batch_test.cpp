// Batches of samples with any targets: what is stacked, what is joined, padding, and what a device is left to do.
#include "atlas/data/batch.h"

#include <doctest/doctest.h>

#include <vector>

#include "atlas/data/feed.h"
#include "atlas/data/mix.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;

namespace {

template <class T>
std::vector<T> values_of(const Tensor& t) {
  const T* p = t.data<T>();
  return {p, p + t.numel()};
}

/// Scenes: image i holds i % 3 objects and has every kind of target. Pixels equal the mask's class numbers.
class Scenes : public Dataset {
 public:
  explicit Scenes(bool sizes = false) : Dataset("scenes", {"ground", "a", "b"}), sizes_(sizes) {}
  int64_t size() const override { return 8; }
  Sample get(int64_t i) const override {
    const int64_t h = 8 + (sizes_ ? i % 3 : 0), w = 10 + (sizes_ ? i % 4 : 0), objects = i % 3;
    Sample s{zeros({h, w, 3}, uint8)};
    Tensor mask = zeros({h, w}, uint8), boxes = zeros({objects, 4}), classes = zeros({objects}, int64);
    Tensor masks = zeros({objects, h, w}, uint8);
    for (int64_t n = 0; n < objects; ++n) {
      const int64_t top = 1 + n + i % 2, left = 2 + 3 * n, bottom = top + 3, right = left + 2;
      float* b = boxes.data<float>() + 4 * n;
      b[0] = static_cast<float>(left), b[1] = static_cast<float>(top);
      b[2] = static_cast<float>(right), b[3] = static_cast<float>(bottom);
      classes.at<int64_t>({n}) = n + 1;
      for (int64_t y = top; y < bottom; ++y)
        for (int64_t x = left; x < right; ++x) {
          mask.at<uint8_t>({y, x}) = static_cast<uint8_t>(n + 1);
          masks.at<uint8_t>({n, y, x}) = 1;
          for (int64_t c = 0; c < 3; ++c) s.image.at<uint8_t>({y, x, c}) = static_cast<uint8_t>(100 * (n + 1));
        }
    }
    s.targets.set(kLabel, {TargetKind::label, full({}, static_cast<double>(i % 3), int64)});
    s.targets.set("mask", {TargetKind::mask, mask});
    s.targets.set("boxes", {TargetKind::boxes, boxes});
    s.targets.set("classes", {TargetKind::label, classes});
    s.targets.set("masks", {TargetKind::instance_masks, masks});
    return s;
  }

 private:
  bool sizes_;
};

/// Image b of a batch agrees with its mask, its objects' masks and their boxes.
void check_consistent(const Batch& batch, float scale, float shift) {
  const Tensor &mask = batch.targets["mask"], &masks = batch.targets["masks"], &boxes = batch.targets["boxes"];
  const std::vector<int64_t>& rows = batch.targets.at("boxes").offsets;
  REQUIRE(std::ssize(rows) == batch.images.size(0) + 1);
  CHECK(batch.targets.at("masks").offsets == rows);
  CHECK(batch.targets.at("classes").offsets == rows);
  for (int64_t b = 0; b < batch.images.size(0); ++b)
    for (int64_t y = 0; y < batch.images.size(1); ++y)
      for (int64_t x = 0; x < batch.images.size(2); ++x) {
        const float v = (batch.images.at<float>({b, y, x, 0}) + shift) / scale;
        const int m = mask.at<uint8_t>({b, y, x});
        CHECK(v == doctest::Approx(m == 255 ? 0 : 100 * m).epsilon(1e-4));
        for (int64_t n = rows[static_cast<size_t>(b)]; n < rows[static_cast<size_t>(b) + 1]; ++n) {
          const float* box = boxes.data<float>() + 4 * n;
          const float cx = static_cast<float>(x) + 0.5f, cy = static_cast<float>(y) + 0.5f;
          const bool in_box = cx > box[0] && cx < box[2] && cy > box[1] && cy < box[3];
          CHECK(in_box == (masks.at<uint8_t>({n, y, x}) == 1));
          if (in_box) CHECK(m == batch.targets["classes"].at<int64_t>({n}));
        }
      }
}

}  // namespace

TEST_CASE("targets of one shape are stacked, rows of objects joined with offsets") {
  for (int workers : {0, 2}) {
    Loader loader(std::make_shared<Scenes>(), {.batch_size = 5, .workers = workers});
    loader.start_epoch(0);
    Batch batch;
    REQUIRE(loader.next(batch));
    CHECK(batch.targets.names() == "label, mask, boxes, classes, masks");
    CHECK(values_of<int64_t>(batch.targets["label"]) == std::vector<int64_t>{0, 1, 2, 0, 1});
    CHECK(batch.targets.at("label").offsets.empty());
    CHECK(batch.targets["mask"].shape() == Shape{5, 8, 10});
    CHECK(batch.targets.at("boxes").offsets == std::vector<int64_t>{0, 0, 1, 3, 3, 4});
    CHECK(batch.targets["boxes"].shape() == Shape{4, 4});
    CHECK(values_of<int64_t>(batch.targets["classes"]) == std::vector<int64_t>{1, 1, 2, 1});
    CHECK(batch.targets["masks"].shape() == Shape{4, 8, 10});
    CHECK(batch.sizes.empty());
    check_consistent(batch, 1.0f / 255, 0);
    REQUIRE(loader.next(batch));
    CHECK(batch.targets.at("boxes").offsets == std::vector<int64_t>{0, 2, 2, 3});
    check_consistent(batch, 1.0f / 255, 0);
  }
}

TEST_CASE("batches without an object have targets without rows") {
  const auto empty_scenes = std::make_shared<Subset>(std::make_shared<Scenes>(), std::vector<int64_t>{0, 3, 6});
  Loader loader(empty_scenes, {.batch_size = 3});
  loader.start_epoch(0);
  Batch batch;
  REQUIRE(loader.next(batch));
  CHECK(batch.targets["boxes"].shape() == Shape{0, 4});
  CHECK(batch.targets["masks"].shape() == Shape{0, 8, 10});
  CHECK(batch.targets.at("classes").offsets == std::vector<int64_t>{0, 0, 0, 0});
}

TEST_CASE("images of different sizes are padded on request, and refused without") {
  const auto scenes = std::make_shared<Scenes>(true);
  Loader loader(scenes, {.batch_size = 4, .pad = 8});
  loader.start_epoch(0);
  Batch batch;
  REQUIRE(loader.next(batch));
  CHECK(batch.images.shape() == Shape{4, 16, 16, 3});  // of 10 x 13 at most
  CHECK(batch.sizes == std::vector<std::array<int64_t, 2>>{{8, 10}, {9, 11}, {10, 12}, {8, 13}});
  CHECK(batch.targets["mask"].at<uint8_t>({0, 8, 0}) == 255);
  CHECK(batch.targets["mask"].at<uint8_t>({0, 7, 10}) == 255);
  CHECK(batch.targets["mask"].at<uint8_t>({2, 9, 11}) == 0);
  check_consistent(batch, 1.0f / 255, 0);
  Loader exact(scenes, {.batch_size = 4, .pad = 1});
  exact.start_epoch(0);
  REQUIRE(exact.next(batch));
  CHECK(batch.images.shape() == Shape{4, 10, 13, 3});

  Loader plain(scenes, {.batch_size = 4});
  plain.start_epoch(0);
  CHECK(message_of([&] { plain.next(batch); }) ==
        "[loader] image 1 of scenes: [9,11,3] after [8,10,3] of image 0 of scenes: images of one batch need "
        "one size (add a Resize or a crop, or set LoaderOptions::pad)");
  CHECK(message_of([&] { Loader(scenes, {.pad = -1}); }) == "[loader] pad must lie in 0..65536, got -1");
}

TEST_CASE("a pipeline cut for the device moves targets as the whole one does") {
  const Transform pipeline = Compose{{PadAndCrop{3, 9, 8}, RandomFlip{}, Normalize{}}};
  const auto cut = cut_for_device(pipeline);
  REQUIRE(cut);
  CHECK(cut->host.get<Compose>()->steps.empty());
  const auto scenes = std::make_shared<Scenes>();
  Loader host(scenes, {.batch_size = 4, .shuffle = true, .seed = 3}, pipeline);
  Loader split(scenes,
               {.batch_size = 4,
                .shuffle = true,
                .workers = 2,
                .seed = 3,
                .on_device = std::make_shared<const DeviceAugment>(cut->device)},
               cut->host);
  Feed feed(split, Device{});
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    host.start_epoch(epoch);
    feed.start_epoch(epoch);
    for (Batch want, got; host.next(want);) {
      REQUIRE(feed.next(got));
      REQUIRE(got.images.shape() == Shape{4, 9, 8, 3});
      for (const auto& [key, target] : want.targets) {
        CHECK(got.targets.at(key).offsets == target.offsets);
        REQUIRE(got.targets[key].shape() == target.value.shape());
        CHECK(std::memcmp(got.targets[key].raw(), target.value.raw(),
                          static_cast<size_t>(target.value.numel() * item_size(target.value.dtype()))) == 0);
      }
      for (int64_t i = 0; i < want.images.numel(); ++i)
        CHECK(got.images.data<float>()[i] == doctest::Approx(want.images.data<float>()[i]).epsilon(1e-4));
    }
  }
}

TEST_CASE("the cut leaves to the device what it can do, and no more") {
  const auto steps_left = [](const Transform& t) {
    const auto cut = cut_for_device(t);
    return cut ? std::ssize(cut->host.get<Compose>()->steps) : -1;
  };
  CHECK(steps_left(Normalize{}) == 0);
  CHECK(steps_left(RandomFlip{}) == -1);
  CHECK(steps_left(Compose{{RandomFlip{}, ColorJitter{}, Normalize{}, RandomErasing{}}}) == 2);
  CHECK(steps_left(Compose{{Resize{9, 9}, PadAndCrop{2}, RandomFlip{}, Normalize{}}}) == 1);
  CHECK(steps_left(Compose{{RandomFlip{}, PadAndCrop{2}, Normalize{}}}) == 1);  // not in the device's order
  CHECK(steps_left(Compose{{Normalize{}, RandomErasing{}, RandomFlip{}}}) == -1);
}

TEST_CASE("samples whose targets differ are named") {
  struct Odd : Scenes {
    int64_t what = 0;
    Sample get(int64_t i) const override {
      Sample s = Scenes::get(i);
      if (i != 2) return s;
      Targets fewer;
      for (const auto& [key, t] : s.targets)
        if (key != "mask") fewer.set(key, t);
      if (what == 0) s.targets = fewer;
      if (what == 1) s.targets.set("mask", {TargetKind::mask, zeros({8, 10}, int64)});
      if (what == 2) s.targets.set("mask", {TargetKind::mask, zeros({8, 9}, uint8)});
      if (what == 3) s.targets.set("label", {TargetKind::label, full({}, 3, int64)});
      return s;
    }
  };
  const auto error = [](int64_t what) {
    const auto odd = std::make_shared<Odd>();
    odd->what = what;
    Loader loader(odd, {.batch_size = 4});
    loader.start_epoch(0);
    Batch batch;
    return message_of([&] { loader.next(batch); });
  };
  CHECK(error(0) ==
        "[loader] image 2 of scenes: its targets are label, boxes, classes, masks, those of image 0 of scenes "
        "are label, mask, boxes, classes, masks: samples of one batch need the same");
  CHECK(error(1) ==
        "[loader] image 2 of scenes: mask 'mask' int64[8,10] after uint8[8,10] of image 0 of scenes: targets "
        "of one batch need one shape, or rows of one shape");
  CHECK(
      error(2) ==
      "[loader] image 2 of scenes: [targets] mask 'mask' must be uint8 or int64 [8,10], a class number for each pixel "
      "of the image, got uint8[8,9]");
  CHECK(error(3) ==
        "[loader] image 2 of scenes: [targets] label 'label' (int64[]) holds 3: class numbers of the 3 classes lie in "
        "0..2");
}

TEST_CASE("images with masks or boxes are not mixed") {
  Loader loader(std::make_shared<Scenes>(), {.batch_size = 4, .collate = Mix({.mixup = 1}, 3)});
  loader.start_epoch(0);
  Batch batch;
  CHECK(message_of([&] { loader.next(batch); }) ==
        "[mix] mask 'mask' (uint8[4,8,10]) cannot be mixed with another image's: mixup and cutmix are for "
        "classification");
}
