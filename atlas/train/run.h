// A run: from a configuration to a folder with checkpoints, logs and pictures. It chooses the parts and the observers;
// the Trainer trains.
#pragma once

#include <string>

#include "atlas/train/config.h"
#include "atlas/train/trainer.h"

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
  std::string profile{};            ///< when not empty: profile_program() with this file for the trace
};

/// Trains as `config` says and writes into options.out:
///
///     config.json                    the effective configuration
///     last.ckpt, best.ckpt           training checkpoints (safetensors), written whole or not at all
///     log.csv, log.jsonl             one line per epoch
///     curves.png                     the loss and what the task is after, over the epochs
///
/// and what the task reports, such as predictions.png (test images with true and predicted labels) and confusion.csv
/// (rows: true class, columns: predicted class).
///
/// One run at a time works in a folder. A run that is resumed in the middle of an epoch goes on at the next image of
/// its order, whatever the batch size is now. With other data or another seed the order is another: the epoch begins
/// anew.
///
/// Several processes that mpirun (or srun) started train together (dist::Group::world()): rank 0 writes and prints. A
/// run that goes on with another number of them accumulates more or fewer batches, so that an update has as many images
/// as before.
///
/// Ctrl-C (SIGTERM, SIGHUP) finishes the update, saves and returns. A run that is resumed, after Ctrl-C or a kill at
/// any moment, ends with bit-identical weights to an uninterrupted one.
/// @return exit status: 0, or 130 after Ctrl-C
/// @throws TrainingStopped as Trainer::fit(); the last checkpoint stays.
/// @throws Error for settings, data or a folder that do not work, before training begins.
int run_training(const TrainConfig& config, const RunOptions& options);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/run-inl.h"
#endif
