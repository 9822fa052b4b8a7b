// The pipeline cut between host and device makes the pictures of the pipeline on the host; the feed hands out batches.
#include "atlas/data/device_augment.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/data/feed.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/train/setup.h"
#include "tests/compare.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using test::largest_difference;

namespace {

train::TrainConfig settings(const std::string& crop, double jitter) {
  train::TrainConfig c;
  c.data.name = "shapes:24";
  c.data.image_size = 20;
  c.augmentation.crop = crop;
  c.augmentation.crop_padding = 3;
  c.augmentation.color_jitter = jitter;
  c.augmentation.erase = 0.6;
  c.augmentation.mixup = 0.4;
  c.augmentation.cutmix = 1;
  c.augmentation.mix_prob = 0.7;
  c.augmentation.label_smoothing = 0.1;
  return c;
}

/// The same batches from both pipelines. (tests/cuda/feed_test.cpp does it on a device.)
void compare(const train::TrainConfig& c) {
  const DatasetPtr set = some_of_each_class(data::open_data(c.data.name, {}).train, 45);
  LoaderOptions options{.batch_size = 9,
                        .shuffle = true,
                        .seed = 5,
                        .collate = [task = std::shared_ptr<const tasks::Task>(train::make_task(c, *set))](
                                       Batch& b, Rng& r) { task->collate(b, r); }};
  Loader host(set, options, train::pipeline_of(c).train);
  const std::optional<PipelineCut> cut = cut_for_device(train::pipeline_of(c).train);
  REQUIRE(cut);
  options.on_device = std::make_shared<const DeviceAugment>(cut->device);
  options.workers = 2;
  Loader split(set, options, cut->host);
  Feed feed(split, Device{});
  int64_t batches = 0;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    host.start_epoch(epoch);
    feed.start_epoch(epoch);
    for (Batch want, got; host.next(want); ++batches) {
      REQUIRE(feed.next(got));
      CHECK(got.indices == want.indices);
      CHECK(got.number == want.number);
      CHECK(largest_difference(got.images, want.images) < 2e-5);
      CHECK(largest_difference(got.targets["soft_label"], want.targets["soft_label"]) < 1e-6);
    }
    Batch none;
    CHECK_FALSE(feed.next(none));
  }
  CHECK(batches == 10);
}

}  // namespace

TEST_CASE("A pipeline cut between host and device gives the same pictures") {
  for (const char* crop : {"pad", "random-resized", "none"}) compare(settings(crop, 0));
  compare(settings("pad", 0.4));
}

TEST_CASE("Noise is that of the host's sequence wherever it begins") {
  for (int before = 0; before < 9; ++before) {
    Rng rng(3, Purpose::sample, 1, 7);
    for (int i = 0; i < before; ++i) rng.bits();
    const Rng::Place place = rng.place();
    const ImageAugment a{.seed = place.seed, .stream = place.stream, .counter = place.counter, .word = place.word};
    for (int64_t n = 0; n < 5; ++n) CHECK(augment::noise(a, n) == rng.normal());
  }
}

TEST_CASE("Images that do not fit are named") {
  Rng rng(0, Purpose::sample, 0, 0);
  Sample floats{zeros({8, 8, 3})};
  CHECK(message_of([&] { DeviceAugment{}.plan(floats, rng); }) ==
        "[DeviceAugment] needs uint8 images [H,W,3], got float32[8,8,3]");
}
