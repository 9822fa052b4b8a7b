// Bodies of trainer.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "atlas/optim/clip.h"
#include "atlas/train/diagnose.h"
#include "atlas/train/evaluate.h"
#include "atlas/train/trainer.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {
inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
}  // namespace detail

ATLAS_INLINE Trainer::Trainer(Module& model, const tasks::Task& task, Optimizer& optimizer, TrainerOptions options)
    : model_(model),
      task_(task),
      optimizer_(optimizer),
      o_(std::move(options)),
      goal_(task.goal()),
      meter_(task.meter(true)),
      best_(std::numeric_limits<double>::quiet_NaN()) {
  check(o_.epochs >= 0 && o_.accumulate >= 1 && o_.clip_norm >= 0, "trainer",
        "needs epochs >= 0, accumulate >= 1 and clip_norm >= 0, got {}, {} and {}", o_.epochs, o_.accumulate,
        o_.clip_norm);
  check(!o_.cuda_graph || o_.accumulate == 1, "trainer",
        "accumulate = {}: gradients of several batches are not added up in a graph", o_.accumulate);
  if (o_.schedule) o_.schedule->validate();
}

ATLAS_INLINE Trainer::~Trainer() = default;

ATLAS_INLINE Trainer& Trainer::watch(Observer& observer) {
  observers_.push_back(&observer);
  return *this;
}

ATLAS_INLINE bool Trainer::fit(data::Loader& training, data::Loader& test) {
  begin(training);
  data::Feed feed(training, model_.device());
  while (epoch_ < o_.epochs) {
    if (!train_epoch(training, feed)) return stopped();
    tested_ = evaluate(test);
    if (stopping()) return stopped();  // the epoch is trained; its test comes after the resume
    end_epoch();
  }
  if (!tested_) tested_ = evaluate(test);
  return true;
}

ATLAS_INLINE bool Trainer::stopped() {
  tell([&](Observer& o) { o.on_stop(*this); });
  return false;
}

ATLAS_INLINE void Trainer::begin(data::Loader& training) {
  const data::LoaderOptions& loader = training.options();
  check(loader.ranks == 1, "trainer",
        "trains with one process, but the loader shares its batches with {} (see examples/06_many_processes.cpp)",
        loader.ranks);
  per_update_ = loader.batch_size * o_.accumulate;
  updates_per_epoch_ = training.dataset().size() / loader.batch_size / o_.accumulate;
  check(updates_per_epoch_ > 0, "trainer", "{} has {} images, fewer than an update of {} batches of {}",
        training.dataset().name(), training.dataset().size(), o_.accumulate, loader.batch_size);
  gradients_.emplace(model_, task_, optimizer_,
                     StepOptions{model_.device(), loader.batch_size, o_.accumulate, o_.bf16, o_.cuda_graph,
                                 [this] { return moment(); }, [this](const StepResult& r) { check_loss(r); }});
  const int64_t of = training.dataset().size(), seed = static_cast<int64_t>(loader.seed);
  if (!position_.fits(of, seed)) {
    const std::string note = fmt::format(
        "it stopped in the middle of an epoch of {} images in the order of seed {}; now there are {} and seed {}: "
        "epoch {} begins anew",
        position_.of, position_.seed, of, seed, epoch_ + 1);
    tell([&](Observer& o) { o.on_note(*this, note); });
    position_.images = 0;
    meter_ = task_.meter(true);
  }
  check(position_.images <= of, "trainer", "the epoch to go on with has {} images, but {} are behind", of,
        position_.images);
  if (position_.images == 0 || position_.per_update == 0) position_.per_update = per_update_;
  position_.of = of;
  position_.seed = seed;
  tell([&](Observer& o) { o.on_start(*this); });
  model_.train();
}

/// Trains to the end of the present epoch. False when it was asked to stop.
ATLAS_INLINE bool Trainer::train_epoch(data::Loader& training, data::Feed& feed) {
  const int64_t first = position_.images, seen = meter_->images(), batch_size = training.options().batch_size;
  // An update takes whole batches. What is left does not count, unless it is the end of an epoch that was begun with
  // smaller updates: then it makes a last, smaller one.
  const int64_t rest = (position_.of - first) % per_update_, smaller = position_.of - rest;
  const bool whole = rest >= position_.per_update;
  const int64_t alone = batch_size > 1 && rest % batch_size == 1 ? 1 : 0;  // batch norm takes no batch of one image
  end_ = smaller + (whole ? rest - alone : 0);
  feed.start_epoch(epoch_, first, whole);
  started_ = detail::seconds_now();
  tell([&](Observer& o) { o.on_epoch_start(*this); });
  int64_t behind = first;
  for (data::Batch batch; feed.next(batch) && batch.end <= end_; behind = batch.end) {
    const auto images = static_cast<double>(std::min(batch_size, batch.end - behind));
    unread_.push_back(
        (*gradients_)(batch, images / static_cast<double>(behind < smaller ? per_update_ : end_ - smaller)));
    if (!model_.device().is_cuda()) read_results();
    tell([&](Observer& o) { o.on_batch(*this, batch); });
    if ((batch.end - first) % per_update_ != 0 && batch.end != end_) continue;
    update(batch.end / per_update_ - 1);
    position_.images = batch.end;
    tell([&](Observer& o) { o.on_step(*this); });
    if (stopping()) return false;
  }
  check(meter_->images() > 0, "train", "none of the {} training images of {} could be read", position_.of,
        training.dataset().name());
  images_per_second_ = static_cast<double>(meter_->images() - seen) / (detail::seconds_now() - started_);
  position_.images = position_.of;
  return true;
}

/// One optimizer update, the `index`-th of this epoch.
ATLAS_INLINE void Trainer::update(int64_t index) {
  const double lr = lr_at(epoch_ * updates_per_epoch_ + index);
  const double norm = o_.clip_norm > 0 ? clip_grad_norm(optimizer_, o_.clip_norm) : grad_norm(optimizer_.parameters());
  read_results();  // the device has been waited for
  if (!std::isfinite(norm))
    explain("a gradient is not finite", lr,
            fmt::format("The loss was finite; the parameter nearest to it with a bad gradient is '{}'.",
                        nearest_bad_gradient(model_)));
  optimizer_.set_lr(lr);
  optimizer_.step();
  gradients_->forget_gradients();
  ++step_;
}

ATLAS_INLINE void Trainer::end_epoch() {
  const double reached = tested_->value(goal_.value);
  const bool better = std::isnan(best_) || goal_.better(reached, best_);
  if (better) best_ = reached;
  ++epoch_;
  const std::unique_ptr<tasks::Meter> trained = std::exchange(meter_, task_.meter(true));
  position_.images = 0;
  position_.per_update = per_update_;
  const EpochResult result{epoch_, *trained, *tested_, better, images_per_second_, detail::seconds_now() - started_};
  tell([&](Observer& o) { o.on_epoch_end(*this, result); });
}

ATLAS_INLINE std::unique_ptr<tasks::Meter> Trainer::evaluate(data::Loader& test) {
  struct End {
    Trainer& trainer;
    ~End() {
      trainer.tell([&](Observer& o) { o.on_test_end(trainer); });
    }
  };
  std::unique_ptr<tasks::Meter> meter;
  {
    const End end{*this};
    tell([&](Observer& o) { o.on_test_start(*this, test.batches()); });
    std::optional<Autocast> mixed;
    if (o_.bf16) mixed.emplace();
    meter = train::evaluate(
        model_, task_, test,
        [&](int64_t done, const tasks::Meter& so_far) {
          tell([&](Observer& o) { o.on_test_batch(*this, done, so_far); });
        },
        [&] { return stopping(); });
  }
  check(meter->images() > 0 || stopping(), "train", "none of the {} test images of {} could be read",
        test.dataset().size(), test.dataset().name());
  return meter;
}

/// Takes over what batches gave since the last call.
ATLAS_INLINE void Trainer::read_results() {
  for (const StepResult& r : unread_) {
    if (model_.device().is_cuda()) check_loss(r);
    meter_->add(r.outputs, r.targets, r.losses, r.indices);
  }
  unread_.clear();
}

ATLAS_INLINE void Trainer::check_loss(const StepResult& r) {
  const double value = r.loss.item();
  if (std::isfinite(value)) return;
  default_generator() = r.generator;
  const int64_t all = std::max<int64_t>(o_.epochs * updates_per_epoch_, 1);
  explain(fmt::format("the loss became {}", std::isnan(value) ? "NaN" : "infinite"), lr_at(std::min(step_, all - 1)),
          fmt::format("The first output that is not finite is that of {}.",
                      first_that_is_not_finite(model_, r.images, o_.bf16)));
}

ATLAS_INLINE void Trainer::explain(const std::string& what, double lr, const std::string& where) const {
  std::string advice;
  for (const Observer* o : observers_)
    if (const std::string more = o->advice(); !more.empty()) advice += " " + more;
  if (!o_.advice.empty()) advice += " " + o_.advice;
  throw TrainingStopped(fmt::format("[train] {} at update {} (epoch {}, learning rate {:.3g}).{} {}", what, step_ + 1,
                                    epoch_ + 1, lr, advice, where));
}

ATLAS_INLINE double Trainer::lr_at(int64_t update) const {
  return o_.schedule ? o_.schedule->lr(update, updates_per_epoch_) : optimizer_.lr();
}

ATLAS_INLINE tasks::Moment Trainer::moment() {
  const double part = position_.of > 0 ? static_cast<double>(position_.images) / static_cast<double>(position_.of) : 0;
  return {static_cast<double>(epoch_) + part, static_cast<double>(o_.epochs), step_,
          [this](const std::function<void()>& body) {
            struct Evaluation {
              Module& model;
              ~Evaluation() { model.train(); }
            };
            model_.eval();
            const Evaluation evaluation{model_};
            for (Observer* o : observers_)
              if (o->on_average(body)) return;
            fail("trainer", "the task needs a moving average of the weights, and none is kept (ema = 0)");
          }};
}

ATLAS_INLINE io::Checkpoint Trainer::checkpoint() const {
  io::Checkpoint now;
  now.model = model_.state_dict();
  now.optimizer = optimizer_.state_dict();
  now.generator = default_generator();
  now.epoch = epoch_;
  now.step = step_;
  now.best_metric = best_;
  RunState{position_, meter_->state()}.save(now.extra);
  for (const Observer* o : observers_) {
    if (o->name() == "ema")
      now.ema = o->state();  // which has a place of its own in the file
    else if (!o->name().empty())
      add_entries(now.extra, o->name(), o->state());
  }
  return now;
}

ATLAS_INLINE void Trainer::resume(const io::Checkpoint& saved, const std::string& file) {
  const RunState state = RunState::load(saved.extra, file);
  optimizer_.load_state_dict(saved.optimizer);
  for (Observer* o : observers_) {
    if (o->name() == "ema")
      o->load_state(saved.ema, file);
    else if (!o->name().empty())
      o->load_state(entries_of(saved.extra, o->name()), file);
  }
  check(saved.epoch <= o_.epochs, "epochs",
        "{} has {} epochs behind it, more than the {} asked for (epochs counts from the beginning of the run)", file,
        saved.epoch, o_.epochs);
  meter_ = task_.meter(true);
  if (state.position.images > 0) meter_->load_state(state.meter);
  default_generator() = saved.generator;
  position_ = state.position;
  epoch_ = saved.epoch;
  step_ = saved.step;
  best_ = saved.best_metric;
}

}  // namespace atlas::inline ATLAS_ABI::train
