// How far a run is: counted in images, so that it means the same with batches of any size, and saved by name.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "atlas/io/checkpoint.h"
#include "atlas/nn/state.h"

namespace atlas::inline ATLAS_ABI::train {

/// A place in the order of an epoch.
struct EpochPosition {
  int64_t images = 0;  ///< of the epoch's order that are behind
  int64_t of = -1;     ///< images of the set; -1: not known, taken for unchanged
  int64_t seed = -1;   ///< of the order
  /// Images of an update when the epoch began; 0: not known, taken for unchanged. What makes such an update is not left
  /// out at the end of an epoch that goes on with larger ones.
  int64_t per_update = 0;

  /// True when an epoch of `now_of` images and seed `now_seed` has the order that this is a place in.
  bool fits(int64_t now_of, int64_t now_seed) const {
    return images == 0 || of < 0 || (of == now_of && seed == now_seed);
  }
};

/// The version of the names below. Files without a version are older: upgrade() knows them.
inline constexpr int64_t kStateVersion = 2;

/// Entries of io::Checkpoint::extra. Observers' states stand beside them, as "NAME.key".
///
/// | name | |
/// |---|---|
/// | state.version | kStateVersion |
/// | epoch_position.images, .of, .seed, .per_update | EpochPosition |
/// | meter.* | state of the task's meter, of the images before the position, of all processes |
/// | state.processes | how many they are; absent: one |
/// | rank.N.* | of several: the N-th one's meter (meter.*) and running statistics (model.*, and observers' by name) |
struct RunState {
  EpochPosition position;
  StateDict meter;
  int64_t processes = 1;

  void save(StateDict& to) const;
  /// @throws Error naming `file` when an entry is absent or does not go with the others.
  static RunState load(const StateDict& from, const std::string& file);
};

/// The entries of `all` whose names begin with "NAME.", without that.
StateDict entries_of(const StateDict& all, std::string_view name);
/// Adds `part` to `all`, with "NAME." before its names.
void add_entries(StateDict& all, std::string_view name, const StateDict& part);

/// Brings the state of a run that an earlier version wrote to today's names and units.
///
/// Before version 2, the position was one tensor: "epoch_position", in images, with the meter's state beside it or, of
/// older files, classification's sums in "epoch_sums"; of the oldest, "epoch_so_far" counted batches.
/// @param batch_size  of the run that wrote it
/// @throws Error naming `file` when it does not say how far its epoch was, or is of a later version.
void upgrade(io::Checkpoint& saved, const std::string& file, int64_t batch_size);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/run_state-inl.h"
#endif
