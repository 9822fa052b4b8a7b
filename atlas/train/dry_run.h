// What a run comes to, before it begins: its learning rates as a picture, and what a few steps take.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <string>

#include "atlas/data/loader.h"
#include "atlas/optim/optimizer.h"
#include "atlas/optim/schedule.h"
#include "atlas/tasks/task.h"

namespace atlas::inline ATLAS_ABI::train {

/// What steps take, as far as steps with a few images tell.
struct StepCost {
  int64_t images = 0;            ///< of the largest batch that was tried
  double seconds_per_image = 0;  ///< forward and backward, loading included
  int64_t bytes_per_image = 0;   ///< that a step takes more for one image more
  int64_t bytes = 0;             ///< peak memory of a step with `batch` images, weights and optimizer included

  /// Seconds in a text a person reads: "45 s", "12.5 min", "3.2 h", "4.1 days"
  static std::string duration(double seconds);
};

/// Makes a few updates with 2 and 4 images (or `batch`, when that is less), and puts a line through the memory they
/// take; then with whole batches, where that is a matter of seconds. The learning rate is 0, but running statistics
/// change.
/// @param options  of the loader of training images; its batch size is not used
StepCost measure_steps(Module& model, const tasks::Task& task, Optimizer& optimizer, const data::DatasetPtr& set,
                       const data::Transform& transform, data::LoaderOptions options, int64_t batch, bool bf16);

/// The largest batch that fits into `limit` bytes when one of `batch` takes `bytes` and one image `per_image`, and
/// divides `update`, the images of an update; 0 when not even one does.
int64_t fitting_batch(int64_t batch, int64_t bytes, int64_t per_image, int64_t limit, int64_t update);

/// The learning rate over the epochs.   -> uint8 [H,W,3]
Tensor schedule_picture(const Schedule& schedule, int64_t updates_per_epoch, int64_t epochs);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/dry_run-inl.h"
#endif
