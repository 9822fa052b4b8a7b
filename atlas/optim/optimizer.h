// What all optimisers share: named parameters in groups, the learning rate, and a state that saves and loads.
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
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

/// A parameter and the name under which its state is saved.
struct Parameter {
  std::string name;
  Tensor value;
};

/// Parameters that share settings. The group's learning rate is the optimiser's times `lr_scale`.
struct ParameterGroup {
  std::vector<Parameter> parameters;
  double weight_decay = 0;
  double lr_scale = 1;
};

/// Names and tensors, as Module::named_parameters() gives them.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Anything with named_parameters(), such as a Module.
template <class M>
concept HasNamedParameters = requires(M& m) {
  { m.named_parameters() } -> std::convertible_to<NamedTensors>;
};

/// All parameters in one group.
inline std::vector<ParameterGroup> single_group(const NamedTensors& parameters, double weight_decay = 0) {
  ParameterGroup group{{}, weight_decay, 1};
  for (const auto& [name, value] : parameters) group.parameters.push_back({name, value});
  return {std::move(group)};
}
/// All parameters of a module in one group.
template <HasNamedParameters M>
std::vector<ParameterGroup> single_group(M& model, double weight_decay = 0) {
  return single_group(NamedTensors(model.named_parameters()), weight_decay);
}

/// Two groups, as vision recipes want them: tensors of two or more axes decay, the rest (biases, norms) does not.
/// @param weight_decay  decay of the first group, >= 0
inline std::vector<ParameterGroup> decay_groups(const NamedTensors& parameters, double weight_decay) {
  ParameterGroup decay{{}, weight_decay, 1}, plain{{}, 0, 1};
  for (const auto& [name, value] : parameters) (value.dim() >= 2 ? decay : plain).parameters.push_back({name, value});
  return {std::move(decay), std::move(plain)};
}
/// The two groups of a module's parameters.
template <HasNamedParameters M>
std::vector<ParameterGroup> decay_groups(M& model, double weight_decay) {
  return decay_groups(NamedTensors(model.named_parameters()), weight_decay);
}

namespace detail {
/// Copies `from` into the tensors `to`. Nothing is changed unless every name is present and every shape fits.
/// @throws Error listing what is missing, unexpected, or of another shape, and `hint`.
inline void load_tensors(const StateDict& from, StateDict to, std::string_view op, std::string_view hint) {
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

/// Moves `state` to where the parameter has been moved to.
inline void follow(Tensor& state, const Tensor& parameter) {
  if (state.device() == parameter.device()) [[likely]]
    return;
  Tensor moved = empty(state.shape(), state.dtype(), parameter.device());
  copy_elements(moved, state);
  state = moved;
}

inline Tensor scalar(DType dtype, double value) {
  Tensor t = empty({}, dtype, Device{});
  fill_elements(t, value);
  return t;
}
}  // namespace detail

/// Base of the optimisers.
///
/// A step changes the parameters from their grad(); a parameter without gradient is left alone. The state (moments,
/// step counts) has the dtype and device of its parameter, and follows it when a module is moved.
///
/// Example: `AdamW optimizer(decay_groups(model, 0.05), {.lr = 1e-3});`
/// then per batch: `optimizer.zero_grad(); loss.backward(); optimizer.step();`
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Updates every parameter that has a gradient.
  /// @throws Error when a gradient does not have the dtype, shape and device of its parameter.
  void step() {
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
  /// Drops the gradients of all parameters.
  void zero_grad() {
    for (const ParameterGroup& group : groups_)
      for (Parameter p : group.parameters) p.value.zero_grad();
  }

  double lr() const { return lr_; }
  /// Sets the learning rate of the next steps (>= 0).
  void set_lr(double lr) {
    check(lr >= 0, name_, "the learning rate must be a number >= 0, got {}", lr);
    lr_ = lr;
  }
  const std::vector<ParameterGroup>& groups() const { return groups_; }
  /// The tensors of all groups, in order.
  std::vector<Tensor> parameters() const {
    std::vector<Tensor> all;
    for (const ParameterGroup& group : groups_)
      for (const Parameter& p : group.parameters) all.push_back(p.value);
    return all;
  }

  /// The state by name. Keys are `<parameter>.<slot>` (sharing memory with the optimiser), `<parameter>.step` and `lr`.
  /// Tensors are laid out as the parameters are in memory. Loading it continues a run bit for bit.
  StateDict state_dict() const {
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
  /// Takes over a state made by state_dict() of the same kind of optimiser on the same parameters.
  /// @throws Error listing missing, unexpected and misshapen entries; the optimiser is then unchanged.
  void load_state_dict(const StateDict& dict) {
    StateDict target = state_dict();
    detail::load_tensors(dict, target, name_, "was it saved by another kind of optimiser, or for another model?");
    lr_ = target.at("lr").item();
    size_t at = 0;
    for (const ParameterGroup& group : groups_)
      for (const Parameter& p : group.parameters) states_[at++].step = target.at(p.name + ".step").item<int64_t>();
  }

 protected:
  /// State of one parameter: its tensors, and the number of updates it has had.
  struct State {
    std::vector<Tensor> slots;
    int64_t step = 0;
  };

  Optimizer(std::string_view name, std::vector<ParameterGroup> groups, double lr, std::vector<std::string> slots)
      : name_(name), groups_(std::move(groups)), slots_(std::move(slots)) {
    set_lr(lr);
    std::set<std::string> names{"lr"};
    for (const ParameterGroup& group : groups_) {
      check(group.weight_decay >= 0 && group.lr_scale >= 0, name_,
            "weight decay and learning-rate scale must be >= 0, got {} and {}", group.weight_decay, group.lr_scale);
      for (const Parameter& p : group.parameters) {
        check(names.insert(p.name).second, name_,
              "two parameters are called '{}' (each parameter belongs to one group)", p.name);
        check(
            p.value.defined() && (p.value.dtype() == float32 || p.value.dtype() == float64) && p.value.is_contiguous(),
            name_, "parameter '{}' must be a contiguous float32 or float64 tensor, got {}", p.name, describe(p.value));
        State state;
        for (size_t k = 0; k < slots_.size(); ++k) {
          state.slots.push_back(empty_like(p.value));
          fill_elements(state.slots.back(), 0);
        }
        states_.push_back(std::move(state));
      }
    }
    check(!states_.empty(), name_, "there is no parameter to optimise");
  }

  /// Work over all gradients before the first update of a step.
  virtual void before_step() {}
  /// Changes the parameters of the list (everything in it is contiguous).
  virtual void update(std::vector<ParameterUpdate>& list) = 0;

  /// The parameter's gradient, contiguous; undefined when there is none.
  Tensor gradient(const Parameter& p) const {
    Tensor g = p.value.grad();
    if (!g.defined()) return g;
    check(g.dtype() == p.value.dtype() && g.shape() == p.value.shape() && g.device() == p.value.device(), name_,
          "parameter '{}' is {}, its gradient {}", p.name, describe(p.value), describe(g));
    return g.is_contiguous() ? g : copy_of(g);
  }

 private:
  std::string name_;
  std::vector<ParameterGroup> groups_;
  std::vector<std::string> slots_;
  std::vector<State> states_;
  double lr_ = 0;
};

}  // namespace atlas::inline ATLAS_ABI
