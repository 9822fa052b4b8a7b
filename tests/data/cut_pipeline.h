// Compares the batches of a pipeline on the host with those of the same pipeline cut between host and device.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <optional>

#include "atlas/data/device_augment.h"
#include "atlas/data/feed.h"
#include "atlas/data/open.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/memory.h"
#include "atlas/train/setup.h"
#include "tests/compare.h"

namespace atlas_test {

/// Loads epochs of `images` images of the data set that `c` names, both ways, and compares them batch by batch.
/// @param pinned  whether batches travel from memory that a device copies from by itself
/// @return how many batches there were
inline int64_t compare_cut_pipeline(const atlas::train::TrainConfig& c, int64_t images, int64_t batch_size,
                                    int64_t epochs, atlas::Device device, bool pinned) {
  namespace data = atlas::data;
  namespace train = atlas::train;
  const data::DatasetPtr set = data::some_of_each_class(data::open_data(c.data.name, {}).train, images);
  data::LoaderOptions options{.batch_size = batch_size, .shuffle = true, .seed = 5};
  options.collate = [task = std::shared_ptr<const atlas::tasks::Task>(train::make_task(c, *set))](
                        data::Batch& b, data::Rng& r) { task->collate(b, r); };
  data::Loader host(set, options, train::pipeline_of(c).train);
  const std::optional<data::PipelineCut> cut = data::cut_for_device(train::pipeline_of(c).train);
  REQUIRE(cut);
  options.on_device = std::make_shared<const data::DeviceAugment>(cut->device);
  options.pinned = pinned;
  options.workers = 2;
  data::Loader split(set, options, cut->host);
  data::Feed feed(split, device);
  int64_t batches = 0;
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    host.start_epoch(epoch);
    feed.start_epoch(epoch);
    data::Batch got;
    for (data::Batch want; host.next(want); ++batches) {
      REQUIRE(feed.next(got));
      CHECK(got.images.device() == device);
      CHECK(got.indices == want.indices);
      CHECK(got.number == want.number);
      CHECK(test::largest_difference(got.images, want.images) < 2e-5);
      CHECK(test::largest_difference(got.targets["soft_label"], want.targets["soft_label"]) < 1e-6);
      CHECK(atlas::to_vector<int64_t>(got.targets["label"]) == atlas::to_vector<int64_t>(want.targets["label"]));
    }
    CHECK_FALSE(feed.next(got));
  }
  return batches;
}

}  // namespace atlas_test
