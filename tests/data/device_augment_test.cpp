// The pipeline cut between host and device makes the pictures of the pipeline on the host; the feed hands out batches.
#include "atlas/data/device_augment.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/train/setup.h"
#include "tests/data/cut_pipeline.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;

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

void compare(const train::TrainConfig& c) {
  CHECK(atlas_test::compare_cut_pipeline(c, 45, 9, 2, Device{}, false) == 10);
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
