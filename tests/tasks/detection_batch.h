// Batches of detection as a test of training makes them, and answers to them.
#pragma once

#include <doctest/doctest.h>

#include "atlas/data/loader.h"
#include "atlas/tasks/detection_pipeline.h"
#include "atlas/tensor/create.h"

namespace test {

/// The first `size` images of a set, in a batch for models of 64 px.
inline atlas::data::Batch batch_of(const atlas::data::DatasetPtr& set, int64_t size, const atlas::tasks::Task& task) {
  namespace tasks = atlas::tasks;
  const tasks::Pipeline pipeline = tasks::detection_pipeline({.image_size = 64});
  atlas::data::Loader loader(set, {.batch_size = size, .collate = tasks::collate_for(task, false), .pad = 32},
                             pipeline.test);
  loader.start_epoch(0);
  atlas::data::Batch batch;
  REQUIRE(loader.next(batch));
  return batch;
}

/// The right boxes of two images with one object each; masks fill them.
inline atlas::tasks::Named right_answers(const atlas::data::Batch& batch) {
  using namespace atlas;
  return {{"boxes", batch.targets["boxes"]},
          {"scores", full({2}, 0.9, float32, Device{})},
          {"labels", batch.targets["label"]},
          {"counts", from_vector<int64_t>({1, 1}, {2}, Device{})},
          {"masks", ones({2, 28, 28}, float32, Device{})}};
}

}  // namespace test
