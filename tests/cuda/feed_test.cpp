// Batches on their way to a device: all of them arrive, and what the device does to pictures is what the host does.
#include "atlas/data/feed.h"

#include <doctest/doctest.h>

#include "atlas/core/cuda.h"
#include "atlas/core/cuda_async.h"
#include "atlas/data/open.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/memory.h"
#include "atlas/train/setup.h"
#include "tests/compare.h"
#include "tests/data/cut_pipeline.h"

using namespace atlas;
using namespace atlas::data;
using test::largest_difference;

namespace {

constexpr Device kDevice{DeviceType::cuda, 0};

}  // namespace

TEST_CASE("The device's part of the pipeline makes the host's pictures") {
  train::TrainConfig c;
  c.data.name = "shapes:20";
  c.data.image_size = 16;
  c.augmentation.crop_padding = 2;
  c.augmentation.erase = 0.6;
  c.augmentation.mixup = 0.4;
  c.augmentation.cutmix = 1;
  c.augmentation.label_smoothing = 0.1;
  CHECK(atlas_test::compare_cut_pipeline(c, 21, 7, 3, kDevice, true) == 9);
}

TEST_CASE("A feed goes on after an epoch that was left, and with a last batch that is smaller") {
  const DatasetPtr set = some_of_each_class(open_data("shapes:16", {}).test, 22);
  Loader plain(set, {.batch_size = 5}, {}), travelling(set, {.batch_size = 5, .workers = 1, .pinned = true}, {});
  Feed feed(travelling, kDevice);
  for (const int64_t first : {0, 3, 0, 1}) {
    plain.start_epoch(0, first);
    feed.start_epoch(0, first);
    int64_t seen = 0;
    for (Batch want, got; plain.next(want); ++seen) {
      REQUIRE(feed.next(got));
      CHECK(largest_difference(got.images, want.images) == 0);
      CHECK(to_vector<int64_t>(got.targets["label"]) == to_vector<int64_t>(want.targets["label"]));
      if (first == 0 && seen == 1) break;
    }
    CHECK(seen > 0);
  }
}

TEST_CASE("A feed that ends when the device has failed leaves the error to others") {
  bool asked = false;
  {
    Feed feed(some_of_each_class(open_data("shapes:16", {}).test, 22), {.batch_size = 5}, {}, kDevice);
    feed.start_epoch(0);
    Batch batch;
    REQUIRE(feed.next(batch));
    cuda::while_waiting([&](double) {
      asked = true;
      fail("test", "the device has failed");
    });
  }
  cuda::while_waiting({});
#if ATLAS_CUDA_EMULATE  // a GPU is through before it is waited for
  CHECK(asked);
#endif
}
