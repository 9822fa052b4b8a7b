// Observer: whoever watches a training. Checkpoints, logs, progress, pictures, moving averages and profiles are
// observers (observers.h); the training itself writes and prints nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "atlas/data/batch.h"
#include "atlas/nn/state.h"
#include "atlas/optim/optimizer.h"
#include "atlas/tasks/task.h"

namespace atlas::inline ATLAS_ABI::train {

class Trainer;

/// What an epoch gave.
struct EpochResult {
  int64_t epoch = 0;  ///< its number, from 1
  const tasks::Meter& training;
  const tasks::Meter& test;
  bool best = false;             ///< the test is better than those of all epochs before
  double images_per_second = 0;  ///< of its training
  double seconds = 0;            ///< its test included
  double fastest_step = 0;       ///< seconds of an update of its training, without waiting, of the fastest rank
  double slowest_step = 0;       ///< and of the slowest
  int64_t slowest_rank = 0;      ///< which that is
};

/// Watches a Trainer. Every function is called for the observers in the order in which they were added, on the thread
/// that trains; errors they throw end the training. With several processes each rank calls its own; one that takes
/// long, on a slow disk, say, is waited for (Group::busy()).
class Observer {
 public:
  virtual ~Observer() = default;

  virtual void on_start(Trainer&) {}        ///< training begins, or goes on
  virtual void on_epoch_start(Trainer&) {}  ///< training images of an epoch come
  /// A batch's gradients are made; it lies where the model saw it.
  virtual void on_batch(Trainer&, const data::Batch& /*batch*/) {}
  virtual void on_step(Trainer&) {}     ///< the weights were updated
  virtual void on_trained(Trainer&) {}  ///< the training images of an epoch are behind, its test comes next
  virtual void on_test_start(Trainer&, int64_t /*batches*/) {}
  /// So many batches are behind, and gave this.
  virtual void on_test_batch(Trainer&, int64_t /*done*/, const tasks::Meter& /*so_far*/) {}
  virtual void on_test_end(Trainer&) {}  ///< also where the test failed
  virtual void on_epoch_end(Trainer&, const EpochResult&) {}
  virtual void on_stop(Trainer&) {}  ///< training was asked to stop, and does
  /// Something worth saying happened; one line.
  virtual void on_note(Trainer&, const std::string& /*text*/) {}

  /// What the observer goes on from, under name(). An observer without a name has none.
  virtual std::string name() const { return {}; }
  virtual StateDict state() const { return {}; }
  /// Takes over what state() gave. @throws Error naming the file that it comes from when it does not fit.
  virtual void load_state(const StateDict& /*state*/, const std::string& /*file*/) {}

  /// Running statistics that it keeps beside the model's. Several processes average them as those.
  virtual NamedTensors buffers() const { return {}; }

  /// What somebody should know whose training failed; a sentence.
  virtual std::string advice() const { return {}; }
  /// Calls `body` while the model holds the moving average of its weights. @return false when there is none.
  virtual bool on_average(const std::function<void()>& /*body*/) { return false; }
};

}  // namespace atlas::inline ATLAS_ABI::train
