// What a run comes to, before it begins: its learning rates as a picture, what a few steps take, and whether that much
// memory is there.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "atlas/data/loader.h"
#include "atlas/optim/optimizer.h"
#include "atlas/optim/schedule.h"
#include "atlas/tasks/task.h"
#include "atlas/train/config.h"

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

/// How steps are measured.
struct MeasureOptions {
  bool bf16 = false;
  bool timed = true;  ///< for their time as well: longer, and with larger batches
  int64_t limit = 0;  ///< bytes that may be taken; 0: unknown
  /// Where training is, for Task::prepare(). None: at its beginning, without a moving average.
  std::function<tasks::Moment()> now{};
};

/// Makes a few updates with 2, 4, 8 ... images, as long as steps take moments and memory may do for more, up to
/// `batch`, and puts a line through the memory that the last two took. The learning rate is 0, but running statistics
/// change.
/// @param options  of the loader of training images; its batch size is not used
StepCost measure_steps(Module& model, const tasks::Task& task, Optimizer& optimizer, const data::DatasetPtr& set,
                       const data::Transform& transform, data::LoaderOptions options, int64_t batch,
                       const MeasureOptions& how = {});

/// The same of the steps that a configuration comes to, as in its last epoch, when all parts of the loss are there:
/// with MESA, the first quarter of a training takes less. The model is one of its own, which is gone afterwards. Random
/// numbers go on as if nothing had been.
StepCost measure_run(const TrainConfig& c, const data::DatasetPtr& training, Device device, MeasureOptions how = {});

/// Bytes that steps of one process may take: of the CPU what the machine or its container has, or the process's limit,
/// shared by the processes on this machine; of a GPU what is free.
int64_t usable_memory(Device device, int64_t processes_here = 1);

/// Whether steps might take so much that it is worth measuring before training: a bound from above, by far.
bool may_need_more(const TrainConfig& c, int64_t classes, int64_t limit);

/// The largest batch that fits into `limit` bytes when one of `batch` takes `bytes` and one image `per_image`, and
/// divides `update`, the images of an update; 0 when not even one does.
int64_t fitting_batch(int64_t batch, int64_t bytes, int64_t per_image, int64_t limit, int64_t update);

/// What is wrong when steps take more than `limit`, with the accumulation that would fit; "" when they do not.
std::string memory_problem(const TrainConfig& c, const StepCost& cost, int64_t limit);

/// The lines of a dry run: updates, memory and time.
/// @param images  training images   @param processes  that share an update
std::string plan_text(const TrainConfig& c, const StepCost& cost, int64_t images, int64_t processes);

/// The learning rate over the epochs.   -> uint8 [H,W,3]
Tensor schedule_picture(const Schedule& schedule, int64_t updates_per_epoch, int64_t epochs);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/dry_run-inl.h"
#endif
