// What to do with the configuration of a run, besides its settings.
// Not in atlas.h by itself: run.h brings it.
#pragma once

#include <cstdint>
#include <string>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::train {

/// What to do with a configuration; nothing here changes what is learned.
struct RunOptions {
  std::string out = "runs/latest";  ///< folder of the run
  bool resume = false;              ///< continue from the last checkpoint in `out`
  bool dry_run = false;             ///< say what the run comes to, draw its schedule into `out`, and stop
  std::string explain{};            ///< a recipe: say every setting and its source, and stop
  bool eval_only = false;           ///< test the best checkpoint in `out`, without training
  std::string device = "auto";      ///< where to compute, as for select_device()
  std::string augment = "auto";     ///< where pixels are cropped, mirrored, normalized, erased and mixed: host, device,
                                    ///< or auto: on the device when that is a GPU
  bool cuda_graph = false;          ///< forward and backward of a step are captured once and replayed (CUDA only)
  int64_t processes = 0;            ///< that have to be there; 0: as many as were started
  bool share_accumulation = false;  ///< `accumulate` is of one process; several share it, for the same images an update
  bool any_memory = false;          ///< train also where steps need more memory than there seems to be
  bool tensorboard = false;         ///< write TensorBoard's event files into `out`
  int64_t tensorboard_histograms = 0;  ///< with weights and gradients every so many epochs; above 0 implies tensorboard
  std::string profile{};               ///< when not empty: profile_program() with this file for the trace
};

}  // namespace atlas::inline ATLAS_ABI::train
