// Bodies of trainer.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "atlas/dist/sync_batch_norm.h"
#include "atlas/dist/waits.h"
#include "atlas/ops/batch_share.h"
#include "atlas/optim/clip.h"
#include "atlas/train/diagnose.h"
#include "atlas/train/evaluate.h"
#include "atlas/train/group_state.h"
#include "atlas/train/trainer.h"

namespace atlas::inline ATLAS_ABI::train {

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
    tell([&](Observer& o) { o.on_trained(*this); });
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
  check(loader.ranks == ranks() && loader.rank == o_.group.rank(), "trainer",
        "is rank {} of {}, but the loader of training images is rank {} of {}", o_.group.rank(), ranks(), loader.rank,
        loader.ranks);
  per_update_ = loader.batch_size * ranks() * o_.accumulate;
  updates_per_epoch_ = training.dataset().size() / per_update_;
  check(updates_per_epoch_ > 0, "trainer", "{} has {} images, fewer than an update of {} batches of {}",
        training.dataset().name(), training.dataset().size(), o_.accumulate, loader.batch_size * ranks());
  if (ranks() > 1)
    parallel_.emplace(model_, o_.group,
                      dist::DataParallelOptions{.start = dist::Start::compare,
                                                .compare_buffers = step_ == 0 || o_.sync_batch_norm,
                                                .buckets = {.wire = o_.wire}});
  gradients_.emplace(model_, task_, optimizer_,
                     StepOptions{model_.device(), loader.batch_size, o_.accumulate, o_.bf16, o_.cuda_graph,
                                 [this] { return moment(); }, [this](const StepResult& r) { check_loss(r); },
                                 [this](bool fits) { return !o_.group.any(!fits); }});
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
  const int64_t first = position_.images, seen = meter_->images(), before = step_;
  const int64_t batch_size = training.options().batch_size * ranks();
  const double waited = o_.group.waited();
  // An update takes whole batches. What is left does not count, unless it is the end of an epoch that was begun with
  // smaller updates: then it makes a last, smaller one.
  const int64_t rest = (position_.of - first) % per_update_, smaller = position_.of - rest;
  const bool whole = rest >= position_.per_update;
  // Batch norm takes no batch of one image, and nobody one of none.
  const int64_t fewest = training.options().batch_size > 1 ? 2 : 1;
  const int64_t last_one = rest % batch_size, alone = last_one < fewest * ranks() ? last_one : 0;
  end_ = smaller + (whole ? rest - alone : 0);
  feed.start_epoch(epoch_, first, whole);
  started_ = dist::detail::clock_seconds();
  tell([&](Observer& o) { o.on_epoch_start(*this); });
  int64_t behind = first;
  int64_t open = -1;  // where the update ends whose gradients wait for more batches; -1: none wait
  const auto finish = [&](int64_t end) {
    update(end / per_update_ - 1);
    open = -1;
    position_.images = end;
    tell([&](Observer& o) { o.on_step(*this); });
    return !stopping();
  };
  // An update whose last batches were left out.
  const auto close = [&] {
    if (open < 0) return true;
    if (ranks() > 1) average_gradients();
    return finish(open);
  };
  for (data::Batch batch; feed.next(batch) && batch.end <= end_; behind = batch.end) {
    const int64_t end = std::min(end_, first + (batch.end - first + per_update_ - 1) / per_update_ * per_update_);
    if (end != open && !close()) return false;
    const auto images = static_cast<double>(std::min(batch_size, batch.end - behind));
    const bool last = batch.end == end;
    if (compute(batch, images / static_cast<double>(behind < smaller ? per_update_ : end_ - smaller), last, fewest)) {
      tell([&](Observer& o) { o.on_batch(*this, batch); });
      open = end;
      if (last && !finish(end)) return false;
    } else if (last && !close()) {
      return false;
    }
  }
  if (!close()) return false;
  join_epoch(meter_->images() - seen, step_ - before, o_.group.waited() - waited);
  check(o_.group.any(meter_->images() > 0), "train", "none of the {} training images of {} could be read", position_.of,
        training.dataset().name());
  position_.images = position_.of;
  return true;
}

/// Makes the gradients of a batch, of which this rank has its part. False when it is left out: a rank has no image of
/// it that can be read, or the only rank fewer than batch norm takes.
/// @param last    of its update
/// @param fewest  images of a batch of one rank alone
ATLAS_INLINE bool Trainer::compute(const data::Batch& batch, double share, bool last, int64_t fewest) {
  const int64_t mine = batch.images.defined() ? batch.images.size(0) : 0;
  if (ranks() == 1) {
    if (mine < fewest) return false;
    unread_.push_back((*gradients_)(batch, share));
  } else {
    // Ranks may have different numbers of images; the reducer takes the mean of their gradients.
    const Tensor counts = zeros({2}, int64, Device{});
    counts.data<int64_t>()[0] = mine;
    counts.data<int64_t>()[1] = mine == 0 ? 1 : 0;
    o_.group.all_reduce(counts);
    if (counts.data<int64_t>()[1] > 0) return false;
    share *= static_cast<double>(ranks() * mine) / static_cast<double>(counts.data<int64_t>()[0]);
    const BatchShare part{o_.group.rank(), batch.places, batch.of};
    const BatchShareScope random(part);
    const dist::SyncBatchNorm together(o_.sync_batch_norm ? o_.group : dist::Group());
    if (last) {
      unread_.push_back((*gradients_)(batch, share));
    } else {
      const auto keep = parallel_->accumulate();
      unread_.push_back((*gradients_)(batch, share));
    }
  }
  if (!model_.device().is_cuda()) read_results();
  return true;
}

/// Makes gradients the means over the ranks, where no batch was left that would have done it.
ATLAS_INLINE void Trainer::average_gradients() {
  std::vector<Tensor> gradients;
  for (Tensor& p : optimizer_.parameters()) {
    if (!p.grad().defined()) p.set_grad(zeros(p.shape(), p.dtype(), p.device()));
    gradients.push_back(p.grad());
  }
  dist::average(o_.group, gradients);
}

/// What an epoch of training was like for all ranks; running statistics become those of all.
ATLAS_INLINE void Trainer::join_epoch(int64_t images, int64_t updates, double waited) {
  const double seconds = dist::detail::clock_seconds() - started_;
  Tensor mine = empty({1, 2}, float64, Device{});
  mine.data<double>()[0] = static_cast<double>(images);
  mine.data<double>()[1] = (seconds - waited) / static_cast<double>(std::max<int64_t>(updates, 1));
  const Tensor all = o_.group.all_gather(mine);
  fastest_ = std::numeric_limits<double>::infinity();
  slowest_ = 0;
  double seen = 0;
  for (int64_t rank = 0; rank < ranks(); ++rank) {
    const double* const row = all.data<double>() + 2 * rank;
    seen += row[0];
    fastest_ = std::min(fastest_, row[1]);
    if (row[1] > slowest_) slowest_rank_ = rank;
    slowest_ = std::max(slowest_, row[1]);
  }
  images_per_second_ = seen / seconds;
  std::vector<Tensor> statistics;
  for (const auto& [name, buffer] : own_buffers()) statistics.push_back(buffer);
  dist::average(o_.group, statistics);
}

/// One optimizer update, the `index`-th of this epoch.
ATLAS_INLINE void Trainer::update(int64_t index) {
  const double lr = lr_at(epoch_ * updates_per_epoch_ + index);
  const double norm = o_.clip_norm > 0 ? clip_grad_norm(optimizer_, o_.clip_norm) : grad_norm(optimizer_.parameters());
  read_results();     // the device has been waited for
  o_.group.waited();  // and what it waited for others is taken down while it rests
  if (ranks() > 1) agree(lr);
  if (!std::isfinite(norm))
    throw TrainingStopped(
        explanation("a gradient is not finite", lr,
                    fmt::format("The loss was finite; the parameter nearest to it with a bad gradient is '{}'.",
                                nearest_bad_gradient(model_))));
  if (parallel_ && step_ == 0 && !parallel_->unused().empty()) {
    std::string names;
    for (const std::string& name : parallel_->unused()) names += (names.empty() ? "" : ", ") + name;
    tell([&](Observer& o) { o.on_note(*this, "parameters that got no gradient on any process: " + names); });
  }
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
  const std::unique_ptr<tasks::Meter> trained = merged(o_.group, task_, true, std::exchange(meter_, task_.meter(true)));
  position_.images = 0;
  position_.per_update = per_update_;
  const EpochResult result{epoch_,   *trained,           *tested_,
                           better,   images_per_second_, dist::detail::clock_seconds() - started_,
                           fastest_, slowest_,           slowest_rank_};
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
        [&] { return ask_all(); });
  }
  meter = merged(o_.group, task_, false, std::move(meter));
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
  if (std::isfinite(r.loss.item())) return;
  if (ranks() > 1) {  // all have to know: agree() says it
    if (!bad_)
      bad_ = StepResult{.images = r.images, .targets = r.targets, .loss = r.loss.detach(), .generator = r.generator};
    return;
  }
  const int64_t all = std::max<int64_t>(o_.epochs * updates_per_epoch_, 1);
  throw TrainingStopped(explain_loss(r, lr_at(std::min(step_, all - 1))));
}

ATLAS_INLINE std::string Trainer::explain_loss(const StepResult& r, double lr) {
  default_generator() = r.generator;
  return explanation(
      fmt::format("the loss{} became {}", ranks() > 1 ? fmt::format(" of rank {}", o_.group.rank()) : std::string(),
                  std::isnan(r.loss.item()) ? "NaN" : "infinite"),
      lr,
      fmt::format(
          "The first output that is not finite is that of {}.",
          first_that_is_not_finite(model_, r.images, o_.bf16, [&] { task_.outputs(model_, r.images, r.targets); })));
}

/// After an update of several ranks: what one of them found or was asked for goes for all.
ATLAS_INLINE void Trainer::agree(double lr) {
  const Tensor flags = zeros({2}, int64, Device{});
  flags.data<int64_t>()[0] = bad_ ? 1 : 0;
  flags.data<int64_t>()[1] = o_.stop && o_.stop() ? 1 : 0;
  o_.group.all_reduce(flags, dist::Reduce::max);
  stop_ = stop_ || flags.data<int64_t>()[1] != 0;
  if (flags.data<int64_t>()[0] == 0) return;
  for (const std::string& text : o_.group.all_gather(bad_ ? explain_loss(*bad_, lr) : std::string()))
    if (!text.empty()) throw TrainingStopped(text);
}

/// Whether any rank is asked to stop; all ask at the same time.
ATLAS_INLINE bool Trainer::ask_all() {
  if (ranks() == 1) return stopping();
  return stop_ = o_.group.any(stop_ || (o_.stop && o_.stop()));
}

ATLAS_INLINE std::string Trainer::explanation(const std::string& what, double lr, const std::string& where) const {
  std::string advice;
  for (const Observer* o : observers_)
    if (const std::string more = o->advice(); !more.empty()) advice += " " + more;
  if (!o_.advice.empty()) advice += " " + o_.advice;
  return fmt::format("[train] {} at update {} (epoch {}, learning rate {:.3g}).{} {}", what, step_ + 1, epoch_ + 1, lr,
                     advice, where);
}

ATLAS_INLINE double Trainer::lr_at(int64_t update) const {
  return o_.schedule ? o_.schedule->lr(update, updates_per_epoch_) : optimizer_.lr();
}

ATLAS_INLINE tasks::Moment Trainer::moment() {
  const double part = position_.of > 0 ? static_cast<double>(position_.images) / static_cast<double>(position_.of) : 0;
  return {static_cast<double>(epoch_) + part, static_cast<double>(o_.epochs), step_,
          [this](const std::function<void()>& body) {
            const EvaluationScope inference(model_);
            for (Observer* o : observers_)
              if (o->on_average(body)) return;
            fail("trainer", "the task needs a moving average of the weights, and none is kept (ema = 0)");
          }};
}

}  // namespace atlas::inline ATLAS_ABI::train
