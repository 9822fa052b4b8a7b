// Bodies of trainer.h: what a training goes on from.
#pragma once

#include <fmt/core.h>

#include "atlas/ops/arithmetic.h"
#include "atlas/train/group_state.h"
#include "atlas/train/trainer.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE io::Checkpoint Trainer::checkpoint() const {
  io::Checkpoint now;
  now.model = model_.state_dict();
  now.optimizer = optimizer_.state_dict();
  now.generator = default_generator();
  now.epoch = epoch_;
  now.step = step_;
  now.best_metric = best_;
  RunState now_at{position_, meter_->state(), ranks()};
  if (ranks() > 1) {
    std::vector<StateDict> meters;
    for (const StateDict& its : all_gather(o_.group, own_state())) {
      add_entries(now.extra, fmt::format("rank.{}", meters.size()), its);
      meters.push_back(entries_of(its, "meter"));
    }
    now_at.meter = joined(task_, true, meters)->state();
  }
  now_at.save(now.extra);
  for (const Observer* o : observers_) {
    if (o->name() == "ema")
      now.ema = o->state();  // which has a place of its own in the file
    else if (!o->name().empty())
      add_entries(now.extra, o->name(), o->state());
  }
  return now;
}

/// Running statistics that other ranks have others of.
ATLAS_INLINE NamedTensors Trainer::own_buffers() const {
  NamedTensors all;
  if (ranks() == 1 || o_.sync_batch_norm) return all;
  const auto add = [&](const std::string& owner, const NamedTensors& buffers) {
    for (const auto& [name, value] : buffers)
      if (is_floating(value.dtype())) all.emplace_back(owner + "." + name, value);
  };
  add("model", model_.named_buffers());
  for (const Observer* o : observers_) add(o->name(), o->buffers());
  return all;
}

/// What a rank has of its own.
ATLAS_INLINE StateDict Trainer::own_state() const {
  StateDict state;
  add_entries(state, "meter", meter_->state());
  for (const auto& [name, value] : own_buffers()) state[name] = value;
  return state;
}

/// Running statistics become the means of those that ranks [first, end) have saved.
ATLAS_INLINE void Trainer::take_buffers(const StateDict& extra, int64_t first, int64_t end) {
  const NoGrad off;
  const auto take = [&](const std::string& name, Tensor value) {
    Tensor sum;
    for (int64_t rank = first; rank < end; ++rank) {
      const auto it = extra.find(fmt::format("rank.{}.{}", rank, name));
      if (it == extra.end()) return;  // synchronized ones are those of the model
      sum = sum.defined() ? sum + it->second : it->second;
    }
    value.copy_(end - first > 1 ? sum * (1.0 / static_cast<double>(end - first)) : sum);
  };
  for (const auto& [name, value] : model_.named_buffers()) take("model." + name, value);
  for (const Observer* o : observers_)
    for (const auto& [name, value] : o->buffers()) take(o->name() + "." + name, value);
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
  const bool as_before = state.processes == ranks();
  if (state.processes > 1)
    take_buffers(saved.extra, as_before ? o_.group.rank() : 0, as_before ? o_.group.rank() + 1 : state.processes);
  if (state.position.images > 0) {
    if (as_before && ranks() > 1)
      meter_->load_state(entries_of(saved.extra, fmt::format("rank.{}.meter", o_.group.rank())));
    else if (o_.group.first())
      meter_->load_state(state.meter);
  }
  default_generator() = saved.generator;
  position_ = state.position;
  epoch_ = saved.epoch;
  step_ = saved.step;
  best_ = saved.best_metric;
}

}  // namespace atlas::inline ATLAS_ABI::train
