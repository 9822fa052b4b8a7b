// What the tests of the loader load with: random transforms and mixing, so that every batch tells what was drawn.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "atlas/data/augment.h"
#include "atlas/data/loader.h"
#include "atlas/data/mix.h"
#include "atlas/data/shapes.h"

namespace atlas_test {

inline atlas::data::Transform augmentation() {
  using namespace atlas::data;
  return Compose{{RandomResizedCrop{12, 12}, RandomFlip{}, ColorJitter{}, Normalize{}, RandomErasing{.p = 0.5}}};
}

inline atlas::data::LoaderOptions options_with(int workers) {
  return {.batch_size = 8,
          .shuffle = true,
          .workers = workers,
          .prefetch = 2,
          .seed = 7,
          .collate = atlas::data::Mix({.mixup = 0.8, .cutmix = 1.0, .label_smoothing = 0.1}, 4)};
}

/// The batches of an epoch of 50 pictures, from batch `first` on.
inline std::vector<atlas::data::Batch> epoch_of(atlas::data::LoaderOptions options, int64_t epoch, int64_t first = 0) {
  using namespace atlas::data;
  Loader loader(std::make_shared<Shapes>(50, 16), options, augmentation());
  loader.start_epoch(epoch, std::min<int64_t>(first * options.batch_size, 50));
  std::vector<Batch> all;
  for (Batch b; loader.next(b);) all.push_back(b);
  return all;
}

}  // namespace atlas_test
