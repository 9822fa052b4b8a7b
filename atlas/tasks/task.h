// Task: what is learned. A model and a data set know nothing of it; the training loop asks it for losses, measures and
// reports, and has no branch on which task it is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/data/batch.h"
#include "atlas/data/dataset.h"
#include "atlas/data/loader.h"
#include "atlas/data/random.h"
#include "atlas/nn/module.h"

/// What is learned: losses, measures, tables and pictures.
namespace atlas::inline ATLAS_ABI::tasks {

/// Tensors by name: what a model makes of images, or the parts of a loss.
using Named = std::vector<std::pair<std::string, Tensor>>;

/// The tensor of that name. @throws Error naming those that there are, when it is none of them.
const Tensor& at(const Named& tensors, std::string_view name);

/// Checks that the logits of a model tell the classes of a task apart.
/// @param outputs  of the model, with logits [..., classes] of that name
/// @param axes     that logits of this task have: 2 for [B, classes], 4 for [B, h, w, classes]
/// @param task     who asks, for the message
/// @return the logits
/// @throws Error naming their shape and both numbers of classes.
const Tensor& checked_logits(const Named& outputs, std::string_view name, int axes, int64_t classes,
                             std::string_view task);

namespace detail {
/// " for classification", where a model says what it is made for; else "".
std::string made_for(const Module& model);
}  // namespace detail

/// Sum of the parts of a loss: what backward() starts from. @throws Error when there is none.
Tensor total(const Named& losses);

/// A measured value.
struct Value {
  std::string name;  ///< as in logs, where "train_" or "test_" stands before it
  double value = 0;
  bool share = false;  ///< in [0, 1], shown in percent
};

/// Collects what batches gave. Sums are kept, so that meters of parts of a set can be merged and saved.
class Meter {
 public:
  virtual ~Meter() = default;
  /// @param outputs, targets  of one batch, on the host or on a device, which is waited for
  /// @param losses   Task::loss() of them: means over the batch
  /// @param indices  positions of the images in their set
  virtual void add(const Named& outputs, const data::Targets& targets, const Named& losses,
                   const std::vector<int64_t>& indices) = 0;
  /// Adds what another meter of the same task has found. @throws Error for a meter of another kind.
  virtual void merge(const Meter& other) = 0;
  /// What was measured: of training among them "loss", of tests what Goal::value names. The columns of logs are these.
  virtual std::vector<Value> values() const = 0;
  /// Those of values() that are known at once, for displays between batches.
  virtual std::vector<Value> values_so_far() const { return values(); }
  /// Images so far.
  virtual int64_t images() const = 0;
  /// What values() come from, by name: a meter that loads it goes on as if it had seen the same batches.
  virtual StateDict state() const = 0;
  /// @throws Error naming what is missing.
  virtual void load_state(const StateDict& state) = 0;

  /// The value of that name. @throws Error when there is none.
  double value(std::string_view name) const;
  /// The value of that name, or NaN when there is none.
  double find(std::string_view name) const;
};

/// Which value a task is after.
struct Goal {
  std::string value;    ///< its name in Meter::values()
  std::string label{};  ///< short, for progress
  std::string axis{};   ///< of a chart
  bool higher = true;   ///< which direction is better
  bool share = false;   ///< in [0, 1], shown in percent
  bool better(double now, double before) const { return higher ? now > before : now < before; }
};

/// What a report is about.
struct ReportOptions {
  std::string folder;  ///< where files go
  std::string title;   ///< of the run, such as "atlas-toy on shapes"
};

/// A table for pages: cells as they are shown, in percent where they end in " %".
struct Table {
  std::vector<std::string> columns{};
  std::vector<std::vector<std::string>> rows{};
};

/// What was written, and what to print.
struct Report {
  std::string tables;                                      ///< lines, or empty
  std::string summary;                                     ///< one line, such as "test accuracy 91.20 %, loss 0.25"
  std::vector<std::pair<std::string, std::string>> files;  ///< pictures for people: what each is, and its path
  Table classes{};                                         ///< a row for each class; empty: `tables` say it
};

/// Where training is, for tasks whose loss changes on the way.
struct Moment {
  double epoch = 0;   ///< epochs behind, as a fraction: 2.5 in the middle of the third
  double epochs = 0;  ///< of the whole training
  int64_t step = 0;   ///< updates behind
  /// Calls its argument while the model holds the moving average of its weights, in evaluation mode.
  /// @throws Error when none is kept. Empty where no Trainer is.
  std::function<void(const std::function<void()>&)> on_average{};
};

/// What is learned from a set.
class Task {
 public:
  virtual ~Task() = default;
  /// What every batch gets, of training and of tests, once its samples are joined: targets made of what the batch
  /// knows, such as the sizes of padded images. Runs on the loader's threads.
  virtual void arrange(data::Batch& /*batch*/) const {}
  /// What is done to training batches after that, such as mixing. Runs on the loader's threads.
  virtual void collate(data::Batch& /*batch*/, data::Rng& /*rng*/) const {}
  /// Called before the model sees a training batch, where that is: targets may be added, such as what the moving
  /// average makes of the images.
  virtual void prepare(const Module& /*model*/, const Tensor& /*images*/, data::Targets& /*targets*/,
                       const Moment& /*now*/) const {}
  /// What the model makes of images. A task whose model reads targets in training, or has several outputs, says how.
  virtual Named outputs(const Module& model, const Tensor& images, const data::Targets& /*targets*/) const {
    return {{"logits", model(images)}};
  }
  /// The parts of the loss of a batch, each a scalar and a mean over the batch.
  /// @throws Error naming the output or target that does not fit.
  virtual Named loss(const Named& outputs, const data::Targets& targets) const = 0;
  /// The same of a test's batch, on the host. Empty where results of a test have no loss, such as detections.
  virtual Named test_loss(const Named& outputs, const data::Targets& targets) const { return loss(outputs, targets); }
  /// A meter for training batches, or for a test, which may look at more.
  virtual std::unique_ptr<Meter> meter(bool training) const = 0;
  virtual Goal goal() const = 0;
  /// Tables and pictures of a test of `set`.
  /// @param test  a meter of this task for tests, that has seen it
  virtual Report report(const data::Dataset& set, const Meter& test, const ReportOptions& options) const = 0;
};

/// The batches of a loader as a task wants them, for data::LoaderOptions. The task must live as long as the loader.
/// @param training  false: those of a test
data::Collate collate_for(const Task& task, bool training = true);

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/task-inl.h"
#endif
