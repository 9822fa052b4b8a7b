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
}  // namespace detail

/// While it lives, random ops on this thread know that they see a part of a batch: drop_path() drops the images, and
/// dropout() the elements, that they would drop of the whole batch (where axis 0 is that of the images, or has several
/// rows of each); sample_boxes() draws other numbers than other processes do.
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
