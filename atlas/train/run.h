// A run: from a configuration to a folder with checkpoints, logs and pictures. It chooses the parts and the observers;
// the Trainer trains.
#pragma once

#include <string>

#include "atlas/train/config.h"
#include "atlas/train/run_options.h"
#include "atlas/train/trainer.h"

namespace atlas::inline ATLAS_ABI::train {

/// Trains as `config` says and writes into options.out:
///
///     config.json                    the effective configuration
///     last.ckpt, best.ckpt           training checkpoints (safetensors), written whole or not at all
///     log.csv, log.jsonl             one line per epoch
///     curves.png                     the loss and what the task is after, over the epochs
///     report.html                    all of that on one page, for a browser
///     events.out.tfevents.*          for TensorBoard, with options.tensorboard
///
/// and, after every epoch, what the task reports, such as predictions.png (test images with true and predicted labels)
/// and confusion.csv (rows: true class, columns: predicted class).
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
