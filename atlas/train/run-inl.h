// Bodies of run.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <tuple>

#include "atlas/core/parallel.h"
#include "atlas/core/rng.h"
#include "atlas/core/select_device.h"
#include "atlas/dist/group.h"
#include "atlas/dist/placement.h"
#include "atlas/tensor/print.h"
#include "atlas/train/dry_run.h"
#include "atlas/train/group_state.h"
#include "atlas/train/interrupt.h"
#include "atlas/train/observers.h"
#include "atlas/train/report_page.h"
#include "atlas/train/run.h"
#include "atlas/train/run_checks-inl.h"
#include "atlas/train/run_folder.h"
#include "atlas/train/run_lock.h"
#include "atlas/train/setup.h"
#include "atlas/train/start.h"
#include "atlas/train/stored_settings.h"
#include "atlas/train/tensorboard.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

/// The parts of one run, and what it says.
class Run {
 public:
  Run(const TrainConfig& config, const RunOptions& options)
      : c_((train::validate(config), config)), o_(options), group_(dist::Group::world()), schedule_(make_schedule(c_)) {
    device_ = checked_device(c_, o_, group_);
    place();
    check_same_program(group_);
    check_same_settings(c_, o_, group_, device_);
    group_.use(device_);
    if (!o_.eval_only && !o_.dry_run && o_.resume && std::filesystem::exists(path("last.ckpt"))) {
      const auto busy = group_.busy();
      saved_ = io::load_checkpoint(path("last.ckpt"));
      keep_update();
    }
    manual_seed(static_cast<uint64_t>(c_.compute.seed));
    read_data();
    if (!o_.eval_only && !o_.dry_run) check_memory_of_steps();
    model_ = make_model(c_, sets_.train->num_classes());
    task_ = make_task(c_, *sets_.train);
    const bool fresh = !o_.eval_only && !std::filesystem::exists(path("last.ckpt"));
    const std::string left_out = fresh ? read_weights() : std::string();
    freeze_parts(*model_, c_.model.freeze);
    model_->to(device_);
    make_loaders();
    optimizer_ = make_optimizer(c_, *model_);
    make_trainer();
    if (o_.eval_only)
      loaded_ = load_best();
    else if (!o_.dry_run)
      prepare_folder_and_resume();
    print_header();
    const std::string& from = c_.model.weights.empty() ? c_.model.backbone_weights : c_.model.weights;
    if (fresh && !from.empty()) say("starts from {}{}{}\n", from, left_out.empty() ? "" : ": ", left_out);
    const OptimizationSettings& o = c_.optimization;
    if (fresh && from.empty() && (o.backbone_lr_scale != 1 || o.group.find("backbone") != o.group.npos))
      say("starts from random weights, though its backbone has a learning rate of its own: --weights names others\n");
  }

  int operator()() {
    if (o_.dry_run) return dry_run();
    if (o_.eval_only) {
      finish(*trainer_->evaluate(*test_loader_), "checkpoint " + loaded_);
      return 0;
    }
    if (!trainer_->fit(*train_loader_, *test_loader_)) return stop_early();
    if (const dist::ReducerCounts* const c = trainer_->communication(); c != nullptr && !o_.profile.empty())
      say("gradients    {} reductions in {} updates, {} each, {} begun before backward ended{}\n", c->buckets,
          c->updates, bytes_text(c->bytes / std::max<int64_t>(c->updates, 1)), c->early,
          device_.is_cuda() ? ""  // what NCCL hides is in the profile of the device
                            : fmt::format("; {:.3f} s on their way, {:.0f} % of it hidden behind backward", c->on_way,
                                          100 * c->hidden()));
    finish(*trainer_->last_test(), fmt::format("after {} epochs", trainer_->epoch()));
    return 0;
  }

 private:
  std::string path(const char* file) const { return o_.out + "/" + file; }
  std::string title() const { return c_.model.name + " on " + data_name(); }
  /// With the list of classes, which makes another data set of it.
  std::string data_name() const {
    return c_.data.name + (c_.data.class_list.empty() ? "" : " (" + c_.data.class_list + ")");
  }

  /// Cores and threads of this process.
  void place() const {
    int threads = static_cast<int>(c_.compute.threads);
    if (const char* wanted = std::getenv("ATLAS_NUM_THREADS"); threads == 0 && wanted != nullptr && group_.size() > 1)
      threads = std::max(0, std::atoi(wanted));
    threads = dist::place_process(group_, threads);
    if (threads > 0) set_num_threads(threads);
  }

  /// With another number of processes than before, batches are accumulated so that updates have as many images.
  void keep_update() {
    const auto it = saved_->extra.find("state.processes");
    const int64_t before = it == saved_->extra.end() ? 1 : it->second.item<int64_t>(), now = group_.size();
    TrainConfig then;
    merge_settings(then, *saved_, path("last.ckpt"));
    OptimizationSettings& o = c_.optimization;
    if (before == now || o.accumulate != then.optimization.accumulate) return;
    const int64_t batch = then.optimization.batch_size, images = batch * then.optimization.accumulate * before;
    check(images % (o.batch_size * now) == 0, "resume",
          "{} has updates of {} images (batch_size {} x accumulate {} x {} processes), which {} x batch_size {} do not "
          "divide: choose another --batch-size or number of processes",
          path("last.ckpt"), images, batch, then.optimization.accumulate, before, now, o.batch_size);
    o.accumulate = images / (o.batch_size * now);
    say("{} {} before, {} now: --accumulate {} keeps updates at {} images\n", before,
        before == 1 ? "process" : "processes", now, o.accumulate, images);
  }

  template <class... Args>
  void say(fmt::format_string<Args...> text, Args&&... args) const {
    if (group_.first()) train::say(text, std::forward<Args>(args)...);
  }

  // What one rank's disk may take longer for than those of the others is said to be work (Group::busy()), and nothing
  // else before the first step: a rank that hangs elsewhere is found as soon as in training.
  void read_data() {
    const auto busy = group_.busy();
    sets_ = open_data(c_, group_.size());
    check_class_names(sets_.train->classes(), data_name());
    check_same_data(group_, *sets_.train, "training");
    check_same_data(group_, *sets_.test, "test");
  }

  /// @return what was left out, as a sentence
  std::string read_weights() {
    const auto busy = group_.busy();
    const ModelSettings& m = c_.model;
    if (!m.backbone_weights.empty()) return load_backbone_weights(*model_, m.backbone_weights);
    return m.weights.empty() ? std::string() : load_weights(*model_, m.weights, {.head = m.keep_head});
  }

  void make_loaders() {
    data::LoaderOptions training = train_loader_options(c_), testing = test_loader_options(c_);
    training.pinned = testing.pinned = device_.is_cuda();
    training.rank = testing.rank = group_.rank();
    training.ranks = testing.ranks = group_.size();
    training.collate = tasks::collate_for(*task_, true);
    testing.collate = tasks::collate_for(*task_, false);
    tasks::Pipeline pipeline = pipeline_of(c_);
    training.pad = pipeline.train_pad;
    testing.pad = pipeline.test_pad;
    if (pipeline.test_batch > 0 && c_.optimization.eval_batch_size == 0) testing.batch_size = pipeline.test_batch;
    const bool may_leave = training.pad == 0 && (o_.augment == "device" || (o_.augment == "auto" && device_.is_cuda()));
    if (may_leave) leave_to_device(pipeline.train, training);
    train_loader_ = std::make_unique<data::Loader>(sets_.train, training, pipeline.train);
    test_loader_ = std::make_unique<data::Loader>(sets_.test, testing, pipeline.test);
  }

  void make_trainer() {
    const OptimizationSettings& o = c_.optimization;
    TrainerOptions options{.epochs = o.epochs,
                           .accumulate = o.accumulate,
                           .clip_norm = o.clip_norm,
                           .schedule = schedule_,
                           .bf16 = bf16(),
                           .cuda_graph = o_.cuda_graph,
                           .stop = [this] { return interrupt_->requested(); },
                           .advice = "A lower --lr, a longer --warmup-epochs or --clip-norm 1 usually helps.",
                           .group = group_,
                           .sync_batch_norm = o.sync_batch_norm,
                           .wire = o.wire == "bf16" ? bfloat16 : float32};
    trainer_ = std::make_unique<Trainer>(*model_, *task_, *optimizer_, std::move(options));
    if (!o_.profile.empty() && group_.first()) watch<Profiler>(o_.profile);
    if (o.ema > 0) watch<MovingAverage>(*model_, EmaOptions{.decay = o.ema, .ramp = o.ema_ramp == 1});
    if (group_.first()) watch<ProgressBars>();
  }

  /// The folder, what an earlier part of the run left there, and the observers that write to it.
  void prepare_folder_and_resume() {
    const auto busy = group_.busy();
    const bool has_last = std::filesystem::exists(path("last.ckpt"));
    check(o_.resume || !has_last, "out", "{} holds a run already: go on with --resume, or choose another --out",
          o_.out);
    check(o_.resume || !std::filesystem::exists(path("best.ckpt")), "out",
          "{} holds the best.ckpt of a run, which would be written over: choose another --out", o_.out);
    if (group_.first()) {
      prepare_folder(o_.out, model_->parameter_count() * 4 * (c_.optimization.ema > 0 ? 4 : 3));
      lock_ = std::make_unique<RunLock>(o_.out);
    }
    // Nothing is written before the checkpoint is found to fit.
    if (has_last)
      resume(path("last.ckpt"));
    else if (o_.resume)
      say("no checkpoint in {} yet: starting from the beginning\n", o_.out);
    const EpochLog* log = nullptr;
    if (group_.first()) {
      if (has_last)
        watch<SettingsFile>(path("config.json"), to_json(c_));
      else
        write_text(path("config.json"), to_json(c_));
      // Logs come before the checkpoint: what is in them too early is dropped by a run that goes on, what is not in
      // them would be lost.
      log = &watch<EpochLog>(o_.out, trainer_->epoch() > 0 ? trainer_->epoch() : -1);
      const TestReports& reports = watch<TestReports>(*sets_.test, o_.out, title());
      if (o_.tensorboard || o_.tensorboard_histograms > 0)
        watch<TensorBoard>(o_.out, &reports, TensorBoardOptions{.histograms = o_.tensorboard_histograms});
      watch<ReportFile>(o_.out, title(), to_json(c_), to_json(TrainConfig{}), log->log(), reports);
    }
    nlohmann::json config = nlohmann::json::parse(to_json(c_));
    config["classes"] = sets_.train->classes();
    watch<Checkpoints>(o_.out, c_.model.name, config.dump(), c_.compute.checkpoint_steps);
    if (log != nullptr) watch<Curves>(path("curves.png"), title(), log->log());
  }

  void resume(const std::string& file) {
    io::Checkpoint saved = *std::exchange(saved_, std::nullopt);
    check_classes(saved, file, sets_.train->classes(), data_name());
    TrainConfig before;
    merge_settings(before, saved, file);
    say("{}", limits_note(saved, file, c_, true));
    upgrade(saved, file, before.optimization.batch_size);
    for (const auto& [option, given, theirs] :
         {std::tuple{"weights", c_.model.weights, before.model.weights},
          std::tuple{"backbone-weights", c_.model.backbone_weights, before.model.backbone_weights}})
      check(given == theirs, option, "the run in {} goes on from its own weights, not from {}: leave --{} out", o_.out,
            given.empty() ? "other ones" : given, option);
    if (!saved.ema.empty() && c_.optimization.ema == 0)
      say("ema = 0: the moving average in {} is left behind, the weights themselves are tested from here on\n", file);
    io::restore_model(*model_, saved, file, c_.model.name);
    trainer_->resume(saved, file);
    loaded_ = file;
  }

  /// For a test alone. @return the checkpoint that was loaded
  std::string load_best() {
    const auto busy = group_.busy();
    const std::string file = path(std::filesystem::exists(path("best.ckpt")) ? "best.ckpt" : "last.ckpt");
    const io::Checkpoint saved = io::load_checkpoint(file);
    check_same_checkpoint(saved, file, group_);
    say("{}", limits_note(saved, file, c_, false));
    check_classes(saved, file, sets_.train->classes(), data_name());
    io::restore_model(*model_, saved, file, c_.model.name);
    for (const auto& observer : observers_)
      if (observer->name() == "ema" && !saved.ema.empty()) observer->load_state(saved.ema, file);
    return file;
  }

  void print_header() const {
    const OptimizationSettings& o = c_.optimization;
    say("{}: {:.2f} M parameters, {} px; {}: {} training and {} test images, {} classes; {}\n", c_.model.name,
        static_cast<double>(model_->parameter_count()) / 1e6, c_.data.image_size, data_name(), sets_.train->size(),
        sets_.test->size(), sets_.train->num_classes(),
        describe_place(device_) + (c_.compute.precision == "bf16" ? ", bf16" : ""));
    for (const auto& set : {sets_.train, sets_.test})
      if (const std::string remarks = set->remarks(); !remarks.empty()) say("{}: {}\n", set->name(), remarks);
    if (!o_.eval_only) {
      say("{} epochs of {} updates, batch {}{}, {} with lr {}; writing to {}\n", o.epochs,
          train_loader_->batches() / o.accumulate, o.batch_size,
          (o.accumulate > 1 ? fmt::format(" x {}", o.accumulate) : "") +
              (group_.size() > 1 ? fmt::format(" x {} processes", group_.size()) : ""),
          o.optimizer, o.lr, o_.out);
      if (!loaded_.empty())
        say("resuming from {}: epoch {}, update {}\n", loaded_, trainer_->epoch() + 1, trainer_->step());
    }
    flush_standard_output();
  }

  /// Tables on the screen, pictures and other files of the task.
  void finish(const tasks::Meter& test, const std::string& when) {
    const int64_t skipped = skipped_of(*sets_.train, group_) + skipped_of(*sets_.test, group_);
    if (!group_.first()) return;
    const auto busy = group_.busy();  // the others are at their end
    const tasks::Goal goal = task_->goal();
    const tasks::Report report = task_->report(*sets_.test, test, {o_.out, title()});
    say("{}", report.tables);
    if (skipped > 0) say("{} unreadable images were skipped\n", skipped);
    say("{}, {}", report.summary, when);
    if (const double best = trainer_->best(); !std::isnan(best))
      say("; best epoch {}", goal.share ? fmt::format("{:.2f} %", 100 * best) : fmt::format("{:.4f}", best));
    say("\n");
    if (!o_.eval_only) say("curves       {}\nreport       {}\n", path("curves.png"), path("report.html"));
    for (const auto& [what, file] : report.files) say("{:<13}{}\n", what, file);
    flush_standard_output();
  }

  /// What the run comes to, from its settings and a few steps.
  int dry_run() {
    if (group_.first()) {
      const auto busy = group_.busy();
      std::filesystem::create_directories(o_.out);
      const int64_t update = c_.optimization.batch_size * c_.optimization.accumulate * group_.size();
      data::write_png(path("schedule.png"),
                      schedule_picture(schedule_, sets_.train->size() / update, c_.optimization.epochs));
    }
    // The steps are those of another model: this one would count as well.
    trainer_.reset();
    observers_.clear();
    optimizer_.reset();
    model_.reset();
    const int64_t limit = usable_memory(device_, group_.local_size());
    if (interrupt_->requested()) return 130;
    interrupt_.reset();
    const StepCost cost = measure_run(c_, sets_.train, device_, {.bf16 = bf16(), .limit = limit});
    say("{}picture      {}\n", plan_text(c_, cost, sets_.train->size(), group_.size()), path("schedule.png"));
    flush_standard_output();
    check_memory_of(cost, limit);
    return 0;
  }

  /// Refuses, before anything is written, a training whose steps need more memory than there is. Steps are measured
  /// only where that could be.
  void check_memory_of_steps() {
    const int64_t limit = usable_memory(device_, group_.local_size());
    if (o_.any_memory || !group_.any(may_need_more(c_, sets_.train->num_classes(), limit))) return;
    StepCost cost;
    if (!interrupt_->requested()) {
      interrupt_.reset();
      cost = measure_run(c_, sets_.train, device_, {.bf16 = bf16(), .timed = false, .limit = limit});
      interrupt_.emplace();
    }
    check_memory_of(cost, limit);
  }
  void check_memory_of(const StepCost& cost, int64_t limit) const {
    if (o_.any_memory) return;
    for (const std::string& problem : group_.all_gather(memory_problem(c_, cost, limit)))
      check(problem.empty(), "memory", "{} (--any-memory tries it)", problem);
  }
  bool bf16() const { return c_.compute.precision == "bf16"; }

  int stop_early() const {
    say("\nstopped; everything up to update {} is in {}\ngo on with: train --out {} --resume\n", trainer_->step(),
        path("last.ckpt"), o_.out);
    flush_standard_output();
    return 130;
  }

  template <class T, class... Args>
  T& watch(Args&&... args) {
    auto observer = std::make_unique<T>(std::forward<Args>(args)...);
    T& it = *observer;
    observers_.push_back(std::move(observer));
    trainer_->watch(it);
    return it;
  }

  TrainConfig c_;
  RunOptions o_;
  dist::Group group_;
  Device device_;
  Schedule schedule_;
  std::optional<InterruptGuard> interrupt_{std::in_place};  // none where there is nothing to save
  data::DataPair sets_;
  std::unique_ptr<tasks::Task> task_;
  std::unique_ptr<models::Model> model_;
  std::unique_ptr<data::Loader> train_loader_, test_loader_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<std::unique_ptr<Observer>> observers_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<RunLock> lock_;
  std::optional<io::Checkpoint> saved_;  // the state that this run goes on from, until it is taken over
  std::string loaded_;                   // the checkpoint this run goes on from, or tests
};

}  // namespace detail

ATLAS_INLINE int run_training(const TrainConfig& config, const RunOptions& options) {
  const dist::Group group = dist::Group::world();
  const TrainConfig own = detail::shared_among(group, config, options);
  if (!options.explain.empty()) {
    validate(own);
    if (group.first()) say("{}", explain(own, options.explain, group.size()));
    return 0;
  }
  return detail::Run(own, options)();
}

}  // namespace atlas::inline ATLAS_ABI::train
