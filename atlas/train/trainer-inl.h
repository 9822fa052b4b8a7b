// Bodies of trainer.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "atlas/autograd/autocast.h"
#include "atlas/core/parallel.h"
#include "atlas/core/profile.h"
#include "atlas/core/rng.h"
#include "atlas/core/select_device.h"
#include "atlas/data/feed.h"
#include "atlas/io/checkpoint.h"
#include "atlas/optim/clip.h"
#include "atlas/optim/ema.h"
#include "atlas/tensor/print.h"
#include "atlas/train/curves.h"
#include "atlas/train/diagnose.h"
#include "atlas/train/epoch_position.h"
#include "atlas/train/evaluate.h"
#include "atlas/train/interrupt.h"
#include "atlas/train/log.h"
#include "atlas/train/pipeline.h"
#include "atlas/train/run_folder.h"
#include "atlas/train/run_lock.h"
#include "atlas/train/setup.h"
#include "atlas/train/start.h"
#include "atlas/train/step.h"
#include "atlas/train/stored_settings.h"
#include "atlas/train/trainer.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

/// One training run, from the first to the last line it prints.
class Run {
 public:
  Run(const TrainConfig& config, const RunOptions& options)
      : c_((train::validate(config), config)), o_(options), schedule_(make_schedule(c_)) {
    device_ = select_device(o_.device);
    check(c_.precision == "float32" || device_.is_cuda(), "precision",
          "bf16 is for training on CUDA devices (--device cuda); on the CPU leave it at float32");
    check(o_.augment == "auto" || o_.augment == "host" || o_.augment == "device", "augment",
          "'{}' is unknown; there are auto, host and device", o_.augment);
    check(!o_.cuda_graph || c_.accumulate == 1, "cuda-graph",
          "accumulate = {}: gradients of several batches are not added up in a graph; use a larger batch_size",
          c_.accumulate);
    check(!o_.cuda_graph || o_.profile.empty(), "cuda-graph",
          "kernels of a graph are not profiled one by one: leave --profile or --cuda-graph out");
    check(!o_.cuda_graph || device_.is_cuda(), "cuda-graph", "a step can only be captured on a CUDA device, not on {}",
          device_.str());
    if (!o_.profile.empty()) profile_program(o_.profile);
    if (c_.threads > 0) set_num_threads(static_cast<int>(c_.threads));
    manual_seed(static_cast<uint64_t>(c_.seed));
    sets_ = open_data(c_);
    model_ = make_model(c_, sets_.train->num_classes());
    const bool fresh = !o_.eval_only && !std::filesystem::exists(path("last.ckpt"));
    std::string left_out;
    if (fresh && !c_.weights.empty()) left_out = load_weights(*model_, c_.weights, {.head = c_.keep_head});
    freeze_parts(*model_, c_.freeze);
    model_->to(device_);
    data::LoaderOptions training = train_loader_options(c_), testing = test_loader_options(c_);
    training.pinned = testing.pinned = device_.is_cuda();
    data::Transform transform = train_transform(c_);
    task_ = make_task(c_, *sets_.train);
    goal_ = task_->goal();
    meter_ = task_->meter(true);
    training.collate = [this](data::Batch& batch, data::Rng& rng) { task_->collate(batch, rng); };
    if (o_.augment == "device" || (o_.augment == "auto" && device_.is_cuda())) leave_to_device(transform, training);
    train_loader_ = std::make_unique<data::Loader>(sets_.train, training, transform);
    feed_ = std::make_unique<data::Feed>(*train_loader_, device_);
    test_loader_ = std::make_unique<data::Loader>(sets_.test, testing, test_transform(c_));
    optimizer_ = make_optimizer(c_, *model_);
    step_of_ =
        std::make_unique<GradientStep>(*model_, *task_, *optimizer_,
                                       StepOptions{device_, c_.batch_size, c_.accumulate, c_.precision == "bf16",
                                                   o_.cuda_graph, [this](const StepResult& r) { check_loss(r); }});
    if (c_.ema > 0) ema_ = std::make_unique<Ema>(*model_, EmaOptions{.decay = c_.ema, .ramp = true});
    updates_per_epoch_ = train_loader_->batches() / c_.accumulate;
    at_.of = sets_.train->size(), at_.seed = c_.seed;
    prepare();
    print_header();
    if (fresh && !c_.weights.empty()) say("starts from {}{}{}\n", c_.weights, left_out.empty() ? "" : ": ", left_out);
  }

  int operator()() {
    if (o_.eval_only) {
      finish(*evaluate_now("test"), "checkpoint " + loaded_);
      return 0;
    }
    model_->train();
    std::unique_ptr<tasks::Meter> last;
    while (epoch_ < c_.epochs) {
      if (!train_epoch()) return stop_early();
      last = evaluate_now(fmt::format("test  {:>{}}/{}", epoch_ + 1, digits(), c_.epochs));
      if (interrupt_.requested()) {
        save(path("last.ckpt"), at_.of);  // the epoch is trained; its test comes after the resume
        return stop_early();
      }
      end_epoch(*last);
    }
    if (!last) last = evaluate_now("test");
    finish(*last, fmt::format("after {} epochs", epoch_));
    return 0;
  }

 private:
  std::string path(const char* file) const { return o_.out + "/" + file; }
  std::string title() const { return c_.model + " on " + c_.data; }
  int digits() const { return static_cast<int>(std::to_string(c_.epochs).size()); }

  /// The folder, and what an earlier part of the run left there.
  void prepare() {
    namespace fs = std::filesystem;
    const bool has_last = fs::exists(path("last.ckpt"));
    if (o_.eval_only) {
      loaded_ = path(fs::exists(path("best.ckpt")) ? "best.ckpt" : "last.ckpt");
      const io::Checkpoint saved = io::load_checkpoint(loaded_);
      check_classes(saved, loaded_);
      io::restore_model(*model_, saved, loaded_, c_.model);
      if (ema_ && !saved.ema.empty()) ema_->load_state_dict(saved.ema);
      return;
    }
    check(o_.resume || !has_last, "out", "{} holds a run already: go on with --resume, or choose another --out",
          o_.out);
    prepare_folder(o_.out, model_->parameter_count() * 4 * (c_.ema > 0 ? 4 : 3));
    lock_ = std::make_unique<RunLock>(o_.out);
    // Nothing is written before the checkpoint is found to fit.
    if (has_last)
      restore(path("last.ckpt"));
    else if (o_.resume)
      say("no checkpoint in {} yet: starting from the beginning\n", o_.out);
    write_text(path("config.json"), to_json(c_));
    log_ = std::make_unique<RunLog>(o_.out, epoch_ > 0 ? epoch_ : -1);
  }

  /// Other data may have as many classes, but what the model says would then be read wrongly.
  void check_classes(const io::Checkpoint& saved, const std::string& file) const {
    const nlohmann::json config = nlohmann::json::parse(saved.config_json, nullptr, false);
    if (!config.is_object() || !config.contains("classes")) return;
    const nlohmann::json theirs = config["classes"], ours = sets_.train->classes();
    check(theirs.size() == ours.size(), "checkpoint", "{} was trained on {} classes, but {} has {}", file,
          theirs.size(), c_.data, ours.size());
    for (size_t i = 0; i < ours.size(); ++i)
      check(theirs[i] == ours[i], "checkpoint",
            "{} was trained on other classes than those of {}: number {} is {}, not {}", file, c_.data, i,
            theirs[i].dump(), ours[i].dump());
  }

  void restore(const std::string& file) {
    const io::Checkpoint saved = io::load_checkpoint(file);
    check_classes(saved, file);
    io::restore_model(*model_, saved, file, c_.model);
    optimizer_->load_state_dict(saved.optimizer);
    check(!ema_ || !saved.ema.empty(), "ema",
          "{} was trained without a moving average of the weights, which cannot begin in the middle: leave --ema out",
          file);
    if (ema_) ema_->load_state_dict(saved.ema);
    check(saved.epoch <= c_.epochs, "epochs",
          "{} has {} epochs behind it, more than the {} asked for (epochs counts from the beginning of the run)", file,
          saved.epoch, c_.epochs);
    TrainConfig before;
    merge_settings(before, saved, file);
    const EpochPosition place = EpochPosition::load(saved.extra, file, before.batch_size, at_);
    default_generator() = saved.generator;
    epoch_ = saved.epoch;
    step_ = saved.step;
    best_ = saved.best_metric;
    if (place.fits(at_.of, at_.seed))
      at_.images = place.images, meter_->load_state(place.found);
    else
      say("{} stopped in the middle of an epoch of {} images in the order of seed {}; now there are {} and seed {}: "
          "epoch {} begins anew\n",
          file, place.of, place.seed, at_.of, at_.seed, epoch_ + 1);
    loaded_ = file;
  }

  void save(const std::string& file, int64_t images_done) {
    io::Checkpoint now;
    now.model_name = c_.model;
    nlohmann::json config = nlohmann::json::parse(to_json(c_));
    config["classes"] = sets_.train->classes();
    now.config_json = config.dump();
    now.model = model_->state_dict();
    now.optimizer = optimizer_->state_dict();
    if (ema_) now.ema = ema_->state_dict();
    now.generator = default_generator();
    now.epoch = epoch_;
    now.step = step_;
    now.best_metric = best_;
    EpochPosition place = at_;
    place.images = images_done;
    place.found = meter_->state();
    place.save(now.extra);
    io::save_checkpoint(file, now);
  }

  void print_header() const {
    say("{}: {:.2f} M parameters, {} px; {}: {} training and {} test images, {} classes; {}\n", c_.model,
        static_cast<double>(model_->parameter_count()) / 1e6, c_.image_size, c_.data, sets_.train->size(),
        sets_.test->size(), sets_.train->num_classes(),
        describe_place(device_) + (c_.precision == "bf16" ? ", bf16" : ""));
    if (!o_.eval_only) {
      say("{} epochs of {} updates, batch {}{}, {} with lr {}; writing to {}\n", c_.epochs, updates_per_epoch_,
          c_.batch_size, c_.accumulate > 1 ? fmt::format(" x {}", c_.accumulate) : "", c_.optimizer, c_.lr, o_.out);
      if (!loaded_.empty()) say("resuming from {}: epoch {}, update {}\n", loaded_, epoch_ + 1, step_);
    }
    std::fflush(stdout);
  }

  /// Trains to the end of the present epoch. False when a signal asked to stop; everything is saved then.
  bool train_epoch() {
    const int64_t per_update = c_.batch_size * c_.accumulate, first = at_.images;
    const int64_t end = first + (at_.of - first) / per_update * per_update;  // an update takes whole batches
    Progress bar(fmt::format("epoch {:>{}}/{}", epoch_ + 1, digits(), c_.epochs), end, {}, first);
    feed_->start_epoch(epoch_, first);
    started_ = std::chrono::steady_clock::now();
    const int64_t before = meter_->images();
    for (data::Batch batch; feed_->next(batch) && batch.end <= end;) {
      train_batch(batch);
      bar.update(batch.end, progress_of(*meter_, goal_, before));
      if ((batch.end - first) % per_update != 0) continue;
      update(batch.end / per_update - 1);
      const bool due = c_.checkpoint_steps > 0 && step_ % c_.checkpoint_steps == 0;
      if (due || interrupt_.requested()) save(path("last.ckpt"), batch.end);
      if (interrupt_.requested()) return false;
    }
    check(meter_->images() > 0, "train", "none of the {} training images of {} could be read", sets_.train->size(),
          c_.data);
    images_per_second_ = static_cast<double>(meter_->images() - before) / seconds_since(started_);
    bar.finish();
    at_.images = 0;
    return true;
  }

  void train_batch(const data::Batch& batch) {
    done_.push_back((*step_of_)(batch));
    if (!device_.is_cuda()) count_results();
  }
  void check_loss(const StepResult& r) {
    const double value = r.loss.item();
    if (std::isfinite(value)) return;
    default_generator() = r.generator;
    explain_bad_loss(r.images, value);
  }
  /// Losses and hits of the batches since the last call.
  void count_results() {
    for (const StepResult& r : done_) {
      if (device_.is_cuda()) check_loss(r);
      meter_->add(r.outputs, r.targets, r.losses, r.indices);
    }
    done_.clear();
  }

  /// One optimizer update, the `index`-th of this epoch.
  void update(int64_t index) {
    const double lr = schedule_.lr(epoch_ * updates_per_epoch_ + index, updates_per_epoch_);
    const double norm =
        c_.clip_norm > 0 ? clip_grad_norm(*optimizer_, c_.clip_norm) : grad_norm(optimizer_->parameters());
    count_results();  // the device has been waited for
    if (!std::isfinite(norm)) explain_bad_gradient(lr);
    optimizer_->set_lr(lr);
    optimizer_->step();
    step_of_->forget_gradients();
    if (ema_) ema_->update();
    ++step_;
  }

  std::string where_it_stopped(double lr) const {
    const bool saved = std::filesystem::exists(path("last.ckpt"));
    return fmt::format(
        "at update {} (epoch {}, learning rate {:.3g}). {} A lower --lr, a longer --warmup-epochs or --clip-norm 1 "
        "usually helps.",
        step_ + 1, epoch_ + 1, lr,
        saved ? "The last good checkpoint is " + path("last.ckpt") + "."
              : std::string("No checkpoint was written yet."));
  }
  double present_lr() const {
    return schedule_.lr(std::min(step_, c_.epochs * updates_per_epoch_ - 1), updates_per_epoch_);
  }
  [[noreturn]] void explain_bad_loss(const Tensor& images, double value) {
    throw TrainingStopped(
        fmt::format("[train] the loss became {} {} The first output that is not finite is that of {}.",
                    std::isnan(value) ? "NaN" : "infinite", where_it_stopped(present_lr()),
                    first_that_is_not_finite(*model_, images, c_.precision == "bf16")));
  }
  [[noreturn]] void explain_bad_gradient(double lr) {
    throw TrainingStopped(
        fmt::format("[train] a gradient is not finite {} The loss was finite; the parameter nearest to it with a bad "
                    "gradient is '{}'.",
                    where_it_stopped(lr), nearest_bad_gradient(*model_)));
  }

  std::unique_ptr<tasks::Meter> evaluate_now(const std::string& label) {
    std::optional<Ema::Swapped> averaged;
    if (ema_) averaged.emplace(ema_->swap());
    Progress bar(label, test_loader_->batches());
    std::optional<Autocast> mixed;
    if (c_.precision == "bf16") mixed.emplace();
    auto result = evaluate(*model_, *task_, *test_loader_, bar, [&] { return interrupt_.requested(); });
    check(result->images() > 0 || interrupt_.requested(), "train", "none of the {} test images of {} could be read",
          sets_.test->size(), c_.data);
    bar.finish();
    return result;
  }

  void end_epoch(const tasks::Meter& test) {
    const double seconds = seconds_since(started_);
    ++epoch_;
    LogRow row = {{"epoch", epoch_}, {"updates", step_}, {"lr", optimizer_->lr()}};
    for (const tasks::Value& v : meter_->values()) row.emplace_back("train_" + v.name, v.value);
    for (const tasks::Value& v : test.values()) row.emplace_back("test_" + v.name, v.value);
    row.emplace_back("images_per_second", images_per_second_);
    row.emplace_back("seconds", seconds);
    row.emplace_back("peak_memory_mib", static_cast<double>(memory_stats(device_).peak) / (1 << 20));
    log_->write(row);
    meter_ = task_->meter(true);
    const double reached = test.value(goal_.value);
    const bool better = best_ == kNone || goal_.better(reached, best_);
    if (better) best_ = reached;
    if (better) save(path("best.ckpt"), 0);
    save(path("last.ckpt"), 0);
    data::write_png(path("curves.png"), curves(log_->rows(), title(), goal_));
  }

  /// Tables on the screen, pictures and the confusion matrix in files.
  void finish(const tasks::Meter& test, const std::string& when) {
    const tasks::Report report = task_->report(*sets_.test, test, {o_.out, title()});
    say("{}", report.tables);
    const int64_t skipped = sets_.train->skipped() + sets_.test->skipped();
    if (skipped > 0) say("{} unreadable images were skipped\n", skipped);
    say("{}, {}", report.summary, when);
    if (!o_.eval_only)
      say("; best epoch {}", goal_.share ? fmt::format("{:.2f} %", 100 * best_) : fmt::format("{:.4f}", best_));
    say("\n");
    if (!o_.eval_only) say("curves       {}\n", path("curves.png"));
    for (const auto& [what, file] : report.files) say("{:<13}{}\n", what, file);
    std::fflush(stdout);
  }

  int stop_early() const {
    say("\nstopped; everything up to update {} is in {}\ngo on with: train --out {} --resume\n", step_,
        path("last.ckpt"), o_.out);
    std::fflush(stdout);
    return 130;
  }

  static double seconds_since(std::chrono::steady_clock::time_point t) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
  }

  TrainConfig c_;
  RunOptions o_;
  Device device_;
  std::vector<StepResult> done_;  // batches whose results were not read yet
  Schedule schedule_;
  InterruptGuard interrupt_;
  data::DataPair sets_;
  std::unique_ptr<tasks::Task> task_;
  tasks::Goal goal_;
  std::unique_ptr<tasks::Meter> meter_;  // of the present epoch
  std::unique_ptr<models::Classifier> model_;
  std::unique_ptr<data::Loader> train_loader_, test_loader_;
  std::unique_ptr<data::Feed> feed_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<GradientStep> step_of_;
  std::unique_ptr<Ema> ema_;
  std::unique_ptr<RunLock> lock_;
  std::unique_ptr<RunLog> log_;
  std::string loaded_;  // the checkpoint this run came from
  int64_t updates_per_epoch_ = 0, epoch_ = 0, step_ = 0;
  EpochPosition at_;  // where the present epoch was begun
  static constexpr double kNone = -1;
  double best_ = kNone;  // the best of what the task is after, so far
  double images_per_second_ = 0;
  std::chrono::steady_clock::time_point started_{};
};

}  // namespace detail

ATLAS_INLINE int run_training(const TrainConfig& config, const RunOptions& options) {
  return detail::Run(config, options)();
}

}  // namespace atlas::inline ATLAS_ABI::train
