// What optimizers share.
#pragma once

#include <fmt/core.h>

#include <concepts>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/kernels/optim.h"
#include "atlas/nn/state.h"
#include "atlas/optim/optimizer.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE void load_tensors(const StateDict& from, StateDict to, std::string_view op, std::string_view hint) {
  LoadReport report;
  for (const auto& [name, t] : to) {
    const auto it = from.find(name);
    if (it == from.end())
      report.missing.push_back(name);
    else if (!it->second.defined() || it->second.shape() != t.shape() ||
             is_floating(it->second.dtype()) != is_floating(t.dtype()))
      report.mismatched.push_back(fmt::format("{}: expected {}, got {}", name, describe(t), describe(it->second)));
  }
  for (const auto& [name, t] : from)
    if (!to.contains(name)) report.unexpected.push_back(name);
  check(report.perfect(), op, "the saved state does not fit ({}): {}", hint, report.str());
  NoGrad off;
  for (auto& [name, t] : to) t.copy_(from.at(name));
}

ATLAS_INLINE void follow(Tensor& state, const Tensor& parameter) {
  if (state.device() == parameter.device()) [[likely]]
    return;
  Tensor moved = empty(state.shape(), state.dtype(), parameter.device());
  copy_elements(moved, state);
  state = moved;
}

ATLAS_INLINE Tensor scalar(DType dtype, double value) {
  Tensor t = empty({}, dtype, Device{});
  fill_elements(t, value);
  return t;
}

}  // namespace detail

ATLAS_INLINE void Optimizer::step() {
  NoGrad off;
  before_step();
  std::vector<ParameterUpdate> updates;
  size_t at = 0;
  for (const ParameterGroup& group : groups_) {
    for (const Parameter& p : group.parameters) {
      State& state = states_[at++];
      const Tensor g = gradient(p);
      if (!g.defined()) continue;
      for (Tensor& slot : state.slots) detail::follow(slot, p.value);
      const auto slot = [&](size_t k) { return k < state.slots.size() ? state.slots[k] : Tensor(); };
      updates.push_back({p.value, g, slot(0), slot(1), lr_ * group.lr_scale, group.weight_decay, ++state.step});
    }
  }
  update(updates);
  for (ParameterUpdate& u : updates) u.p.bump_version();
}

ATLAS_INLINE void Optimizer::zero_grad() {
  for (const ParameterGroup& group : groups_)
    for (Parameter p : group.parameters) p.value.zero_grad();
}

ATLAS_INLINE void Optimizer::set_lr(double lr) {
  check(lr >= 0, name_, "the learning rate must be a number >= 0, got {}", lr);
  lr_ = lr;
}

ATLAS_INLINE std::vector<Tensor> Optimizer::parameters() const {
  std::vector<Tensor> all;
  for (const ParameterGroup& group : groups_)
    for (const Parameter& p : group.parameters) all.push_back(p.value);
  return all;
}

ATLAS_INLINE StateDict Optimizer::state_dict() const {
  StateDict dict{{"lr", detail::scalar(float64, lr_)}};
  size_t at = 0;
  for (const ParameterGroup& group : groups_) {
    for (const Parameter& p : group.parameters) {
      const State& state = states_[at++];
      for (size_t k = 0; k < slots_.size(); ++k) dict[p.name + "." + slots_[k]] = state.slots[k];
      Tensor step = empty({}, int64, Device{});
      *step.data<int64_t>() = state.step;
      dict[p.name + ".step"] = step;
    }
  }
  return dict;
}

ATLAS_INLINE void Optimizer::load_state_dict(const StateDict& dict) {
  StateDict target = state_dict();
  detail::load_tensors(dict, target, name_, "was it saved by another kind of optimizer, or for another model?");
  lr_ = target.at("lr").item();
  size_t at = 0;
  for (const ParameterGroup& group : groups_)
    for (const Parameter& p : group.parameters) states_[at++].step = target.at(p.name + ".step").item<int64_t>();
}

ATLAS_INLINE Optimizer::Optimizer(std::string_view name, std::vector<ParameterGroup> groups, double lr,
                                  std::vector<std::string> slots)
    : name_(name), groups_(std::move(groups)), slots_(std::move(slots)) {
  set_lr(lr);
  std::set<std::string> names{"lr"};
  for (const ParameterGroup& group : groups_) {
    check(group.weight_decay >= 0 && group.lr_scale >= 0, name_,
          "weight decay and learning-rate scale must be >= 0, got {} and {}", group.weight_decay, group.lr_scale);
    for (const Parameter& p : group.parameters) {
      check(names.insert(p.name).second, name_, "two parameters are called '{}' (each parameter belongs to one group)",
            p.name);
      check(p.value.defined() && (p.value.dtype() == float32 || p.value.dtype() == float64) && p.value.is_contiguous(),
            name_, "parameter '{}' must be a contiguous float32 or float64 tensor, got {}", p.name, describe(p.value));
      State state;
      for (size_t k = 0; k < slots_.size(); ++k) {
        state.slots.push_back(empty_like(p.value));
        fill_elements(state.slots.back(), 0);
      }
      states_.push_back(std::move(state));
    }
  }
  check(!states_.empty(), name_, "there is no parameter to optimize");
}

ATLAS_INLINE Tensor Optimizer::gradient(const Parameter& p) const {
  Tensor g = p.value.grad();
  if (!g.defined()) return g;
  check(g.dtype() == p.value.dtype() && g.shape() == p.value.shape() && g.device() == p.value.device(), name_,
        "parameter '{}' is {}, its gradient {}", p.name, describe(p.value), describe(g));
  return g.is_contiguous() ? g : copy_of(g);
}

}  // namespace atlas::inline ATLAS_ABI
