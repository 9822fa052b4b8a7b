// The observers of a training: the moving average of weights, checkpoints, the log, reports of tests, progress, curves,
// the profile. TensorBoard's files are written by that of tensorboard.h.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "atlas/core/profile.h"
#include "atlas/data/image.h"
#include "atlas/optim/ema.h"
#include "atlas/train/curves.h"
#include "atlas/train/log.h"
#include "atlas/train/observer.h"
#include "atlas/train/progress.h"
#include "atlas/train/run_folder.h"
#include "atlas/train/trainer.h"

namespace atlas::inline ATLAS_ABI::train {

/// Keeps the moving average of a model's weights, and puts it into the model for tests.
class MovingAverage : public Observer {
 public:
  /// @throws Error for a decay outside [0, 1).
  MovingAverage(Module& model, const EmaOptions& options) : model_(model), ema_(model, options) {}
  void on_step(Trainer&) override { ema_.update(); }
  void on_test_start(Trainer&, int64_t) override { swapped_.emplace(ema_.swap()); }
  void on_test_end(Trainer&) override { swapped_.reset(); }
  std::string name() const override { return "ema"; }
  StateDict state() const override { return ema_.state_dict(); }
  void load_state(const StateDict& state, const std::string& file) override {
    check(!state.empty(), "ema",
          "{} was trained without a moving average of the weights, which cannot begin in the middle: leave --ema out",
          file);
    ema_.load_state_dict(state);
  }
  bool on_average(const std::function<void()>& body) override {
    const Ema::Swapped swapped = ema_.swap();
    body();
    return true;
  }
  NamedTensors buffers() const override {
    const StateDict all = ema_.state_dict();
    NamedTensors found;
    for (const auto& [name, buffer] : model_.named_buffers()) found.emplace_back(name, all.at(name));
    return found;
  }
  const Ema& average() const { return ema_; }

 private:
  Module& model_;
  Ema ema_;
  std::optional<Ema::Swapped> swapped_;
};

/// Writes last.ckpt and best.ckpt into a folder: after every epoch, every so many updates, and when training stops; and
/// last.ckpt before the test of an epoch, which may fail or take as long as the epoch did. Every rank of several has
/// one, and the first one writes.
class Checkpoints : public Observer {
 public:
  /// @param model   name of the model, for messages and for building it again
  /// @param config  what the run was set up with, JSON
  /// @param every   updates between checkpoints within an epoch; 0: none
  Checkpoints(std::string folder, std::string model, std::string config, int64_t every = 0)
      : folder_(std::move(folder)), model_(std::move(model)), config_(std::move(config)), every_(every) {}

  void on_step(Trainer& t) override {
    if (every_ > 0 && t.step() % every_ == 0) save(t, last());
  }
  void on_trained(Trainer& t) override { save(t, last()); }
  void on_stop(Trainer& t) override { save(t, last()); }
  void on_epoch_end(Trainer& t, const EpochResult& result) override {
    if (result.best) save(t, folder_ + "/best.ckpt");
    save(t, last());
  }
  ATLAS_INLINE std::string advice() const override;
  std::string last() const { return folder_ + "/last.ckpt"; }

 private:
  void save(const Trainer& t, const std::string& file) const {
    io::Checkpoint now = t.checkpoint();
    now.model_name = model_;
    now.config_json = config_;
    if (t.group().first()) io::save_checkpoint(file, now);
    t.group().barrier();  // nobody goes on before it is written; where it cannot be, the first rank ends all
  }
  std::string folder_, model_, config_;
  int64_t every_;
};

/// Writes the settings of a run that goes on, once they have served for an update: settings that fail leave what was
/// there, so that the run can go on with those.
class SettingsFile : public Observer {
 public:
  SettingsFile(std::string file, std::string text) : file_(std::move(file)), text_(std::move(text)) {}
  void on_step(Trainer&) override { write(); }
  void on_stop(Trainer&) override { write(); }
  void on_epoch_end(Trainer&, const EpochResult&) override { write(); }

 private:
  void write() {
    if (text_.empty()) return;
    write_text(file_, text_);
    text_.clear();
  }
  std::string file_, text_;
};

/// Writes a row of log.csv and log.jsonl for every epoch: its columns are what the task's meters measure.
class EpochLog : public Observer {
 public:
  /// @param keep_through  as for RunLog: epochs of an earlier part of the run; -1 for none
  explicit EpochLog(const std::string& folder, int64_t keep_through = -1) : log_(folder, keep_through) {}
  ATLAS_INLINE void on_epoch_end(Trainer& t, const EpochResult& result) override;
  const RunLog& log() const { return log_; }

 private:
  RunLog log_;
};

/// Asks the task for its report after every epoch, whose pictures and tables then are those of the last test.
class TestReports : public Observer {
 public:
  /// @param set  what is tested
  TestReports(const data::Dataset& set, std::string folder, std::string title)
      : set_(set), options_{std::move(folder), std::move(title)} {}
  void on_epoch_end(Trainer& t, const EpochResult& result) override {
    report_ = t.task().report(set_, result.test, options_);
  }
  /// Of the last epoch; an empty one before it.
  const tasks::Report& report() const { return report_; }

 private:
  const data::Dataset& set_;
  tasks::ReportOptions options_;
  tasks::Report report_;
};

/// Draws curves.png: the loss and the task's goal over the epochs.
class Curves : public Observer {
 public:
  /// @param log  an observer that was added before
  Curves(std::string file, std::string title, const RunLog& log)
      : file_(std::move(file)), title_(std::move(title)), log_(log) {}
  void on_epoch_end(Trainer& t, const EpochResult&) override {
    data::write_png(file_, curves(log_.rows(), title_, t.task().goal()));
  }

 private:
  std::string file_, title_;
  const RunLog& log_;
};

/// Shows how far epochs and tests are.
class ProgressBars : public Observer {
 public:
  explicit ProgressBars(ProgressOptions options = {}) : o_(std::move(options)) {}
  ATLAS_INLINE void on_epoch_start(Trainer& t) override;
  ATLAS_INLINE void on_batch(Trainer& t, const data::Batch& batch) override;
  ATLAS_INLINE void on_test_start(Trainer& t, int64_t batches) override;
  ATLAS_INLINE void on_test_batch(Trainer& t, int64_t done, const tasks::Meter& so_far) override;
  ATLAS_INLINE void on_test_end(Trainer&) override;
  void on_note(Trainer&, const std::string& text) override { say("{}\n", text); }
  void on_stop(Trainer&) override { bar_.reset(); }

 private:
  ProgressInfo info(const tasks::Meter& meter, const std::vector<tasks::Value>& values, const tasks::Goal& goal,
                    int64_t before, int64_t ranks) const;
  std::string label(const Trainer& t, const char* word) const;
  ProgressOptions o_;
  std::unique_ptr<Progress> bar_;
  int64_t seen_ = 0, batches_ = 0, done_ = 0;  // images before the bar; batches of the test, and those behind
};

/// Takes a profile of all kernels of the program, from the first batch on: profile_program(). The first rank of several
/// has one.
class Profiler : public Observer {
 public:
  explicit Profiler(std::string trace) : trace_(std::move(trace)) {}
  void on_start(Trainer& t) override { start(t); }
  void on_test_start(Trainer& t, int64_t) override { start(t); }

 private:
  void start(const Trainer& t) {
    if (std::exchange(started_, true)) return;
    // The trace is written when the program ends: after what is registered later has run, and before what was made
    // earlier is destroyed.
    static dist::Group group;
    static std::shared_ptr<void> busy;
    group = t.group();
    profile_program(trace_);
    std::atexit([] { busy = group.busy(); });
  }
  std::string trace_;
  bool started_ = false;
};

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/observers-inl.h"
#endif
