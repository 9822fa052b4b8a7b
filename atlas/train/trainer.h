// Trainer: epochs, updates, accumulation, tests and stopping, for any model, task and optimizer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "atlas/core/failure.h"
#include "atlas/data/feed.h"
#include "atlas/data/loader.h"
#include "atlas/dist/data_parallel.h"
#include "atlas/io/checkpoint.h"
#include "atlas/optim/optimizer.h"
#include "atlas/optim/schedule.h"
#include "atlas/tasks/task.h"
#include "atlas/train/observer.h"
#include "atlas/train/run_state.h"
#include "atlas/train/step.h"

namespace atlas::inline ATLAS_ABI::train {

struct TrainerOptions {
  int64_t epochs = 1;                     ///< passes over the training images
  int64_t accumulate = 1;                 ///< batches whose gradients make one update
  double clip_norm = 0;                   ///< largest global norm of the gradient; 0: no clipping
  std::optional<Schedule> schedule = {};  ///< none: the optimizer's learning rate as it is
  bool bf16 = false;                      ///< Autocast (CUDA devices)
  bool cuda_graph = false;                ///< capture forward and backward once, and replay them
  std::function<bool()> stop = {};        ///< asked after every update and in tests; true: stop
  std::string advice = {};                ///< a sentence for messages of TrainingStopped
  dist::Group group = {};                 ///< the processes that train together
  bool sync_batch_norm = false;  ///< of several: statistics of all ranks; else each its own, averaged after epochs
  DType wire = float32;          ///< of several: what float32 gradients travel as; bfloat16 halves the bytes
};

/// Training stopped because of the numbers (a loss or gradient that is not finite), not because of wrong input.
class TrainingStopped : public Failure {
 public:
  using Failure::Failure;
};

/// Trains a model for a task.
///
///     train::Trainer trainer(model, task, optimizer, {.epochs = 4});
///     train::ProgressBars progress;
///     trainer.watch(progress).fit(train_loader, test_loader);
///     fmt::print("accuracy {}\n", trainer.last_test()->value("accuracy"));
///
/// \snippet tests/train/own_program_test.cpp ten lines
///
/// Batches go to the device of the model. Each epoch ends with a test; what is best is said by the task's goal. What
/// should be written or shown is up to observers.
///
/// With several processes every rank has a trainer, and loaders that share batches with the others. Gradients, meters
/// and decisions are those of all: what one process does with the whole batch. A stop that one rank is asked for, or a
/// loss that is not finite on one, ends all alike.
///
/// A training that is saved with checkpoint() and goes on with resume() ends with bit-identical weights to one that
/// went through, at whatever update it was saved.
class Trainer {
 public:
  /// All of them, and observers, must outlive the trainer.
  Trainer(Module& model, const tasks::Task& task, Optimizer& optimizer, TrainerOptions options = {});
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Adds an observer.
  Trainer& watch(Observer& observer);

  /// Trains up to options.epochs.
  /// @param training  shuffled, with a seed, and with tasks::collate_for() where the task has a collate. Images that
  ///                  make no whole update at the end of an epoch are not used.
  /// @return false when it was asked to stop
  /// @throws TrainingStopped when a loss or gradient is not finite: names the update, the learning rate and the first
  ///         module whose output is not finite.
  /// @throws Error for options that do not go together, or data that cannot be read.
  bool fit(data::Loader& training, data::Loader& test);
  /// Tests the model as it is, or the moving average of its weights where an observer keeps one.
  std::unique_ptr<tasks::Meter> evaluate(data::Loader& test);

  /// All that training goes on from: weights, optimizer, random numbers, counters, meter, states of observers.
  /// model_name and config_json are left to who writes it. Tensors share memory with the model's. All ranks call it.
  io::Checkpoint checkpoint() const;
  /// Goes on from there, in fit(). Observers have to be added before. The weights are loaded by the caller
  /// (io::restore_model()), old versions brought up to date by upgrade(). With as many processes as before it is
  /// bit-identical; the state of others is joined.
  /// @throws Error naming `file` when something does not fit.
  void resume(const io::Checkpoint& saved, const std::string& file);

  Module& model() const { return model_; }
  const tasks::Task& task() const { return task_; }
  Optimizer& optimizer() const { return optimizer_; }
  const TrainerOptions& options() const { return o_; }
  int64_t epoch() const { return epoch_; }  ///< epochs behind
  int64_t step() const { return step_; }    ///< updates behind
  const dist::Group& group() const { return o_.group; }
  /// How far the present epoch is.
  const EpochPosition& position() const { return position_; }
  int64_t epoch_end() const { return end_; }             ///< images of the present epoch that will be used
  const tasks::Meter& meter() const { return *meter_; }  ///< of the present epoch's training batches
  /// Processes that train together.
  int64_t ranks() const { return o_.group.size(); }
  /// What its reducer of gradients did; null with one process, and before fit().
  const dist::ReducerCounts* communication() const { return parallel_ ? &parallel_->counts() : nullptr; }
  /// The best value of the task's goal in the tests so far; NaN before the first.
  double best() const { return best_; }
  /// The last test, or null.
  const tasks::Meter* last_test() const { return tested_.get(); }

 private:
  template <class F>
  void tell(const F& what) {
    const auto busy = o_.group.busy();  // on a slow disk, say: no reason for other ranks to take this one for dead
    for (Observer* o : observers_) what(*o);
  }
  bool stopping() const { return ranks() > 1 ? stop_ : o_.stop && o_.stop(); }
  bool ask_all();
  bool stopped();
  void begin(data::Loader& training);
  bool train_epoch(data::Loader& training, data::Feed& feed);
  bool compute(const data::Batch& batch, double share, bool last, int64_t fewest);
  void average_gradients();
  void update(int64_t index);
  void agree(double lr);
  void join_epoch(int64_t images, int64_t updates, double waited);
  NamedTensors own_buffers() const;
  StateDict own_state() const;
  void take_buffers(const StateDict& extra, int64_t first, int64_t end);
  void end_epoch();
  void read_results();
  void check_loss(const StepResult& result);
  std::string explain_loss(const StepResult& result, double lr);
  std::string explanation(const std::string& what, double lr, const std::string& where) const;
  tasks::Moment moment();
  double lr_at(int64_t update) const;

  Module& model_;
  const tasks::Task& task_;
  Optimizer& optimizer_;
  TrainerOptions o_;
  tasks::Goal goal_;
  std::vector<Observer*> observers_;
  std::optional<GradientStep> gradients_;
  std::optional<dist::DataParallel> parallel_;  // of several processes
  std::optional<StepResult> bad_;               // a batch of this rank whose loss is not finite
  bool stop_ = false;                           // all ranks were asked to stop
  std::vector<StepResult> unread_;              // results that were not read from the device yet
  std::unique_ptr<tasks::Meter> meter_;         // of the present epoch
  std::unique_ptr<tasks::Meter> tested_;
  int64_t epoch_ = 0, step_ = 0, updates_per_epoch_ = 0, end_ = 0, per_update_ = 0;
  EpochPosition position_;
  double best_, images_per_second_ = 0, started_ = 0, fastest_ = 0, slowest_ = 0;
  int64_t slowest_rank_ = 0;
};

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/trainer-inl.h"
#include "atlas/train/trainer_state-inl.h"
#endif
