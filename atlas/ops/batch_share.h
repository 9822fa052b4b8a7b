// Random numbers of a batch that several processes share: which part of it this thread works on.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "atlas/core/rng.h"

namespace atlas::inline ATLAS_ABI {

/// The part that a process has of a batch.
struct BatchShare {
  int64_t rank = 0;             ///< of the process
  std::vector<int64_t> places;  ///< of its images in the whole batch
  int64_t of = 0;               ///< images of the whole batch
};

namespace detail {
/// Images that follow each other both in the whole batch, from place `place` on, and in this part, from `here` on.
struct PlaceRun {
  int64_t here, place, images;
};
/// The runs of a part, which are few.
inline std::vector<PlaceRun> runs_of(const BatchShare& share) {
  std::vector<PlaceRun> runs;
  for (int64_t i = 0; i < static_cast<int64_t>(share.places.size()); ++i) {
    const int64_t place = share.places[static_cast<size_t>(i)];
    if (!runs.empty() && place == runs.back().place + runs.back().images)
      ++runs.back().images;
    else
      runs.push_back({i, place, 1});
  }
  return runs;
}

/// The part that this thread works on; null: the whole batch.
inline const BatchShare*& batch_share() {
  thread_local const BatchShare* share = nullptr;
  return share;
}
/// A seed for numbers that belong to this process alone; that of `g` where nobody shares the batch.
inline uint64_t seed_of_process(const Generator& g) {
  const BatchShare* const share = batch_share();
  return share == nullptr ? g.seed : g.seed + static_cast<uint64_t>(share->rank) * 0x9E3779B97F4A7C15u;
}

/// Generators of the images of a batch, one each: what they draw depends on an image's place in the whole batch,
/// whatever process has it and how many images that process has.
class ImageGenerators {
 public:
  /// @param generator  one stream of it is taken for all images; null: images have none
  explicit ImageGenerators(Generator* generator)
      : seed_(generator != nullptr ? generator->seed : 0),
        stream_(generator != nullptr ? generator->next() : 0),
        any_(generator != nullptr) {}
  /// That of image `i` of this part, or null; good until the next call.
  Generator* of(int64_t i) {
    if (!any_) return nullptr;
    const BatchShare* const share = batch_share();
    const int64_t place = share == nullptr ? i : share->places[static_cast<size_t>(i)];
    own_ = {seed_ + static_cast<uint64_t>(place + 1) * 0x9E3779B97F4A7C15u, stream_ << 8};
    return &own_;
  }

 private:
  uint64_t seed_, stream_;
  bool any_;
  Generator own_;
};
}  // namespace detail

/// While it lives, random ops on this thread know that they see a part of a batch: drop_path() drops the images, and
/// dropout() the elements, that they would drop of the whole batch (where axis 0 is that of the images, or has several
/// rows of each); detectors choose the boxes of each image that they would choose in the whole batch.
class BatchShareScope {
 public:
  /// @param share  outlives this
  explicit BatchShareScope(const BatchShare& share) : before_(std::exchange(detail::batch_share(), &share)) {}
  ~BatchShareScope() { detail::batch_share() = before_; }
  BatchShareScope(const BatchShareScope&) = delete;
  BatchShareScope& operator=(const BatchShareScope&) = delete;

 private:
  const BatchShare* before_;
};

}  // namespace atlas::inline ATLAS_ABI
