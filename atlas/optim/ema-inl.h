// Bodies of ema.h.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/kernels/optim.h"
#include "atlas/ops/softmax.h"
#include "atlas/optim/ema.h"
#include "atlas/optim/optimizer.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Ema::Ema(const NamedTensors& tensors, EmaOptions options) : options_(options) {
  check(options.decay >= 0 && options.decay < 1, "Ema", "decay must be in [0, 1), got {}", options.decay);
  std::set<std::string> names{kUpdates};
  for (const auto& [name, value] : tensors) {
    check(names.insert(name).second, "Ema", "two tensors are called '{}'", name);
    check(value.defined() && value.is_contiguous(), "Ema", "'{}' must be a contiguous tensor, got {}", name,
          describe(value));
    entries_.push_back({name, value, copy_of(value)});
  }
}

ATLAS_INLINE void Ema::update() {
  const double t = static_cast<double>(++updates_);
  const double decay = options_.ramp ? std::min(options_.decay, (1 + t) / (10 + t)) : options_.decay;
  NoGrad off;
  std::vector<TensorPair> pairs;
  for (Entry& e : entries_) {
    detail::follow(e.average, e.value);
    if (is_floating(e.value.dtype()))
      pairs.push_back({e.average, e.value});
    else
      e.average.copy_(e.value);
    e.average.bump_version();
  }
  kernels::ema_update(pairs, decay);
}

ATLAS_INLINE Ema::Swapped::~Swapped() {
  if (ema_ != nullptr) ema_->exchange();
}

ATLAS_INLINE void Ema::apply() {
  NoGrad off;
  for (Entry& e : entries_) e.value.copy_(e.average);
}

ATLAS_INLINE StateDict Ema::state_dict() const {
  StateDict dict;
  for (const Entry& e : entries_) dict[e.name] = e.average;
  Tensor n = empty({}, int64, Device{});
  *n.data<int64_t>() = updates_;
  dict[kUpdates] = n;
  return dict;
}

ATLAS_INLINE void Ema::load_state_dict(const StateDict& dict) {
  StateDict target = state_dict();
  detail::load_tensors(dict, target, "Ema", "was it saved for another model?");
  updates_ = target.at(kUpdates).item<int64_t>();
}

ATLAS_INLINE void Ema::exchange() {
  // Contents change places rather than storages: whoever else holds the weight's memory sees the change and its
  // version.
  std::vector<TensorPair> pairs;
  for (Entry& e : entries_) {
    detail::follow(e.average, e.value);
    pairs.push_back({e.value, e.average});
    e.value.bump_version();
    e.average.bump_version();
  }
  kernels::swap_values(pairs);
}

}  // namespace atlas::inline ATLAS_ABI
