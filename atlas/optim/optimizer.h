// What all optimizers share: named parameters in groups, the learning rate, and a state that saves and loads.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "atlas/kernels/optim.h"
#include "atlas/nn/state.h"

namespace atlas::inline ATLAS_ABI {

/// A parameter and the name under which its state is saved.
struct Parameter {
  std::string name;
  Tensor value;
};

/// Parameters that share settings. The group's learning rate is the optimizer's times `lr_scale`.
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
void load_tensors(const StateDict& from, StateDict to, std::string_view op, std::string_view hint);

/// Moves `state` to where the parameter has been moved to.
void follow(Tensor& state, const Tensor& parameter);

Tensor scalar(DType dtype, double value);
}  // namespace detail

/// Base of the optimizers.
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
  void step();
  /// Drops the gradients of all parameters.
  void zero_grad();

  double lr() const { return lr_; }
  /// Sets the learning rate of the next steps (>= 0).
  void set_lr(double lr);
  const std::vector<ParameterGroup>& groups() const { return groups_; }
  /// The tensors of all groups, in order.
  std::vector<Tensor> parameters() const;

  /// The state by name. Keys are `<parameter>.<slot>` (sharing memory with the optimizer), `<parameter>.step` and `lr`.
  /// Tensors are laid out as the parameters are in memory. Loading it continues a run bit for bit.
  StateDict state_dict() const;
  /// Takes over a state made by state_dict() of the same kind of optimizer on the same parameters.
  /// @throws Error listing missing, unexpected and misshapen entries; the optimizer is then unchanged.
  void load_state_dict(const StateDict& dict);

 protected:
  /// State of one parameter: its tensors, and the number of updates it has had.
  struct State {
    std::vector<Tensor> slots;
    int64_t step = 0;
  };

  Optimizer(std::string_view name, std::vector<ParameterGroup> groups, double lr, std::vector<std::string> slots);

  /// Work over all gradients before the first update of a step.
  virtual void before_step() {}
  /// Changes the parameters of the list (everything in it is contiguous).
  virtual void update(std::vector<ParameterUpdate>& list) = 0;

  /// The parameter's gradient, contiguous; undefined when there is none.
  Tensor gradient(const Parameter& p) const;

 private:
  std::string name_;
  std::vector<ParameterGroup> groups_;
  std::vector<std::string> slots_;
  std::vector<State> states_;
  double lr_ = 0;
};

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/optim/optimizer-inl.h"
#endif
