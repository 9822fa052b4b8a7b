// How far a run is in its epoch: counted in images, so that it means the same with batches of any size.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "atlas/core/error.h"
#include "atlas/nn/state.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::train {

/// A place in the order of an epoch, and what was found up to there.
struct EpochPosition {
  int64_t images = 0;        ///< of the epoch's order that are behind
  int64_t of = 0, seed = 0;  ///< what the order comes from, besides the epoch: images of the set, and the seed
  StateDict found{};         ///< state of the task's meter, of the images before

  /// True when an epoch of `now_of` images and seed `now_seed` has the order that this is a place in.
  bool fits(int64_t now_of, int64_t now_seed) const { return images == 0 || (of == now_of && seed == now_seed); }

  /// What stands before the names of the meter's state.
  static constexpr const char* kMeter = "meter.";
  void save(StateDict& to) const {
    Tensor place = empty({3}, int64, Device{});
    const int64_t places[3] = {images, of, seed};
    std::copy(places, places + 3, place.data<int64_t>());
    to["epoch_position"] = place;
    for (const auto& [name, value] : found) to[kMeter + name] = value;
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
    // Before meters had states, classification's sums stood in one tensor.
    Tensor sums = entry("epoch_sums", float64, 3);
    for (const auto& [name, value] : from)
      if (name.starts_with(kMeter)) p.found[name.substr(std::string_view(kMeter).size())] = value;
    if (const Tensor place = entry("epoch_position", int64, 3);
        place.defined() && (sums.defined() || !p.found.empty())) {
      const int64_t* n = place.data<int64_t>();
      p.images = n[0], p.of = n[1], p.seed = n[2];
    } else {
      const Tensor old = entry("epoch_so_far", float64, 4);
      check(old.defined(), "checkpoint", "{} does not say how far its epoch was", file);
      p.images = static_cast<int64_t>(old.data<double>()[0]) * batch_size;
      p.of = present.of, p.seed = present.seed;
      sums = old.slice(0, 1, 4);
    }
    if (sums.defined())
      for (int64_t i = 0; i < 3; ++i)
        p.found[std::array{"loss_sum", "right", "images"}[static_cast<size_t>(i)]] =
            full({}, sums.data<double>()[i], float64, Device{});
    check(p.images >= 0 && p.images <= p.of, "checkpoint", "{} is {} images into an epoch of {}", file, p.images, p.of);
    return p;
  }
};

}  // namespace atlas::inline ATLAS_ABI::train
