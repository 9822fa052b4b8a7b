// The settings that a run has written down: in its config.json, and in its checkpoints.
#pragma once

#include <string>
#include <vector>

#include "atlas/io/checkpoint.h"
#include "atlas/train/config.h"

namespace atlas::inline ATLAS_ABI::train {

/// Sets the fields that a checkpoint names. @param path  where it came from, for messages
/// @return the names of its classes; empty when it names none
/// @throws Error when its settings are damaged.
std::vector<std::string> merge_settings(TrainConfig& config, const io::Checkpoint& checkpoint, const std::string& path);

/// Sets what a run in the folder `out` was trained with: its config.json, or where that is missing what last.ckpt or
/// best.ckpt says. @return false when the folder holds no run
/// @throws Error naming the file that is damaged.
bool merge_stored_settings(TrainConfig& config, const std::string& out);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/stored_settings-inl.h"
#endif
