// Module: the base of every layer and model. It knows parameters, buffers and children by name, and no mathematics.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "atlas/nn/state.h"

namespace atlas::inline ATLAS_ABI {

class Module;

/// A layer: named parameters and buffers, child modules, and a forward function.
///
/// A module registers its members in its constructor and holds them by value; it neither copies nor moves, so
/// registered addresses stay good. Parameters are float32 on the CPU until to() says otherwise.
///
/// \snippet tests/nn/module_test.cpp own layer
class Module {
 public:
  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  virtual ~Module() = default;

  /// y = f(x). Layers override it; modules with another signature do not.
  /// @throws Error when the module has no forward of one tensor.
  ATLAS_INLINE virtual Tensor forward(const Tensor& x) const;
  /// forward(x) of a tensor that the caller has no more use for: activations work in its memory when they may.
  virtual Tensor forward_owned(Tensor x) const { return forward(x); }
  /// onto() where nothing is recorded or watched. Layers that end in a product override it.
  ATLAS_INLINE virtual Tensor forward_onto(const Tensor& residual, const Tensor& x, const Tensor& scale) const;
  /// forward(x), shown to whoever watches (LayerWatch). Call layers this way.
  Tensor operator()(const Tensor& x) const;
  /// The same with forward_owned(x).
  Tensor operator()(Tensor&& x) const;

  /// residual + scale forward(x), what a residual block does with its layer: in one pass where nothing is recorded and
  /// the layer ends in a product.
  /// @param residual  of the shape of the result
  /// @param scale     [C], undefined for ones
  Tensor onto(const Tensor& residual, const Tensor& x, const Tensor& scale = {}) const;

  /// Switches this module and everything below to training behavior (dropout, batch statistics) or to inference.
  Module& train(bool on = true);
  /// train(false)
  Module& eval() { return train(false); }
  bool training() const { return training_; }
  /// Takes this module and everything below out of training, or back in: frozen parameters require no gradients, and
  /// frozen modules stay in inference mode (running statistics as they are, no dropout) whatever train() says.
  Module& freeze(bool on = true);
  bool frozen() const { return frozen_; }

  /// Converts every floating parameter and buffer. Handles held elsewhere (optimizers) stay valid.
  /// Gradients are dropped.
  /// @throws Error for a dtype that is not floating.
  Module& to(DType dtype);
  /// Moves every parameter and buffer to a device.
  Module& to(Device device);

  /// Where its first parameter is; the CPU when it has none.
  Device device() const;

  /// Parameters and buffers of the whole tree: a module's own first, then its children's in the order of registration.
  std::vector<StateEntry> state_entries() const;
  /// Parameters with their dotted names.
  std::vector<std::pair<std::string, Tensor>> named_parameters() const { return named(true); }
  /// Buffers (running statistics) with their dotted names.
  std::vector<std::pair<std::string, Tensor>> named_buffers() const { return named(false); }
  std::vector<Tensor> parameters() const;
  /// This module (named "") and everything below, parents first.
  std::vector<std::pair<std::string, Module*>> named_modules();
  /// Number of trainable values.
  int64_t parameter_count() const;
  /// Drops every parameter's gradient.
  void zero_grad() const;

  /// Parameters and buffers by published name, in published layout. The tensors are views of the module's memory:
  /// writing a file costs no copy of the model, and a snapshot is copy_of() of each.
  StateDict state_dict() const;
  /// Copies values into parameters and buffers, converting floating dtypes. Nothing changes when the dictionary does
  /// not fit.
  /// @param dict        tensors in published layout; may_be_missing() says what it may always lack
  /// @param strictness  what may be missing from or superfluous in `dict`
  /// @return what was missing and unexpected
  /// @throws Error listing the missing and unexpected names and the tensors of another shape.
  LoadReport load_state_dict(const StateDict& dict, Strictness strictness = Strictness::strict);

 protected:
  /// Registers a trainable tensor (a member of the derived class) and makes it require a gradient.
  /// @throws Error for an empty name, a dot in it, a name used before, or a tensor that is not floating.
  void register_parameter(const std::string& name, Tensor& tensor, Layout layout = Layout::plain);
  /// Registers a tensor that is saved and loaded but not trained. @throws Error as register_parameter.
  void register_buffer(const std::string& name, Tensor& tensor);
  /// Registers a child (a member of the derived class). @throws Error as register_parameter.
  void register_module(const std::string& name, Module& child);
  /// Registers a child that has no name of its own: what is below it appears under this module's names, as if it were
  /// registered here, and named_modules() does not list the part itself. @throws Error as register_parameter.
  void register_part(Module& part);
  /// Several children at once: register_modules({{"fc1", fc1}, {"fc2", fc2}}).
  void register_modules(std::initializer_list<std::pair<const char*, std::reference_wrapper<Module>>> children);

  /// While a profile is taken: says which module runs. Modules whose work is no forward(x) open one themselves.
  class LayerScope {
   public:
    explicit LayerScope(const Module& m);
    ~LayerScope();
    LayerScope(const LayerScope&) = delete;
    LayerScope& operator=(const LayerScope&) = delete;

   private:
    static const Module*& running();
    bool active_ = false;
    const Module* outer_ = nullptr;
    std::string outer_path_;
  };

 private:
  struct Child {
    std::string name;  // "" for a part
    Module* module;
  };

  /// "blocks.0.norm" when that module is below this one, else "".
  std::string path_to(const Module& m) const;

  void claim(const std::string& name) const;
  void claim_names_of(const Module& part) const;
  bool has(const std::string& name) const;
  /// The path of `below` in a child: a part adds no name.
  static std::string join(const std::string& child, const std::string& below);
  void collect(const std::string& prefix, std::vector<StateEntry>& all) const;
  void collect_modules(const std::string& path, std::vector<std::pair<std::string, Module*>>& all);
  void collect_children(const std::string& path, std::vector<std::pair<std::string, Module*>>& all);
  std::vector<std::pair<std::string, Tensor>> named(bool parameters) const;
  /// Gives the tensor object behind a handle other memory, so that every handle on it sees the change.
  static void replace(const Tensor& tensor, const Tensor& with);

  std::vector<StateEntry> tensors_;
  std::vector<Child> children_;
  bool training_ = true, frozen_ = false;
};

/// While it lives, a module is in inference mode; afterwards in what it was in.
class EvaluationScope {
 public:
  explicit EvaluationScope(Module& module) : module_(module), training_(module.training()) { module.eval(); }
  ~EvaluationScope() { module_.train(training_); }
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  Module& module_;
  bool training_;
};

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/nn/module-inl.h"
#endif
