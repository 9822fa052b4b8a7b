// How far a run is in its epoch: counted in images, so that it means the same with batches of any size.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "atlas/core/error.h"
#include "atlas/nn/state.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::train {

/// A place in the order of an epoch, and what was found up to there.
struct EpochPosition {
  int64_t images = 0;          ///< of the epoch's order that are behind
  int64_t of = 0, seed = 0;    ///< what the order comes from, besides the epoch: images of the set, and the seed
  double loss_sum = 0;         ///< of the images seen
  double right = 0, seen = 0;  ///< images that were classified rightly, and all that could be read

  /// True when an epoch of `now_of` images and seed `now_seed` has the order that this is a place in.
  bool fits(int64_t now_of, int64_t now_seed) const { return images == 0 || (of == now_of && seed == now_seed); }

  void save(StateDict& to) const {
    Tensor place = empty({3}, int64, Device{}), sums = empty({3}, float64, Device{});
    const int64_t places[3] = {images, of, seed};
    const double values[3] = {loss_sum, right, seen};
    std::copy(places, places + 3, place.data<int64_t>());
    std::copy(values, values + 3, sums.data<double>());
    to["epoch_position"] = place;
    to["epoch_sums"] = sums;
  }
  /// @param batch_size, present  settings of the run that wrote it: before positions were counted in images, they were
  ///                             counted in its batches, of a set that is taken for unchanged
  /// @throws Error naming `file` when it does not say how far its epoch was.
  static EpochPosition load(const StateDict& from, const std::string& file, int64_t batch_size,
                            const EpochPosition& present) {
    const auto entry = [&](const char* name, DType dtype, int64_t size) -> Tensor {
      const auto it = from.find(name);
      return it != from.end() && it->second.dtype() == dtype && it->second.shape() == Shape{size} ? it->second
                                                                                                  : Tensor();
    };
    EpochPosition p;
    Tensor sums = entry("epoch_sums", float64, 3);
    if (const Tensor place = entry("epoch_position", int64, 3); place.defined() && sums.defined()) {
      const int64_t* n = place.data<int64_t>();
      p.images = n[0], p.of = n[1], p.seed = n[2];
    } else {
      const Tensor old = entry("epoch_so_far", float64, 4);
      check(old.defined(), "checkpoint", "{} does not say how far its epoch was", file);
      p.images = static_cast<int64_t>(old.data<double>()[0]) * batch_size;
      p.of = present.of, p.seed = present.seed;
      sums = old.slice(0, 1, 4);
    }
    const double* s = sums.data<double>();
    p.loss_sum = s[0], p.right = s[1], p.seen = s[2];
    check(p.images >= 0 && p.images <= p.of, "checkpoint", "{} is {} images into an epoch of {}", file, p.images, p.of);
    return p;
  }
};

}  // namespace atlas::inline ATLAS_ABI::train
