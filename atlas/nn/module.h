// Module: the base of every layer and model. It knows parameters, buffers and children by name, and no mathematics.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/core/profile.h"
#include "atlas/nn/state.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/fuse.h"
#include "atlas/ops/watch.h"
#include "atlas/tensor/memory.h"

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
  virtual Tensor forward(const Tensor& x) const {
    fail("module", "{} has no forward(x), called with {}", typeid(*this).name(), describe(x));
  }
  /// forward(x) of a tensor that the caller has no more use for: activations work in its memory when they may.
  virtual Tensor forward_owned(Tensor x) const { return forward(x); }
  /// onto() where nothing is recorded or watched. Layers that end in a product override it.
  virtual Tensor forward_onto(const Tensor& residual, const Tensor& x, const Tensor& scale) const {
    return add_scaled(residual, forward(x), scale);
  }
  /// forward(x), shown to whoever watches (LayerWatch). Call layers this way.
  Tensor operator()(const Tensor& x) const {
    const LayerScope layer(*this);
    return detail::watched(this, forward(x));
  }
  /// The same with forward_owned(x).
  Tensor operator()(Tensor&& x) const {
    const LayerScope layer(*this);
    return detail::watched(this, forward_owned(std::move(x)));
  }

  /// residual + scale forward(x), what a residual block does with its layer: in one pass where nothing is recorded and
  /// the layer ends in a product.
  /// @param residual  of the shape of the result
  /// @param scale     [C], undefined for ones
  Tensor onto(const Tensor& residual, const Tensor& x, const Tensor& scale = {}) const {
    return detail::joined_in_inference(
        [&] {
          const LayerScope layer(*this);
          return forward_onto(residual, x, scale);
        },
        [&] { return add_scaled(residual, (*this)(x), scale); });
  }

  /// Switches this module and everything below to training behavior (dropout, batch statistics) or to inference.
  Module& train(bool on = true) {
    training_ = on && !frozen_;
    for (auto& c : children_) c.module->train(on);
    return *this;
  }
  /// train(false)
  Module& eval() { return train(false); }
  bool training() const { return training_; }
  /// Takes this module and everything below out of training, or back in: frozen parameters require no gradients, and
  /// frozen modules stay in inference mode (running statistics as they are, no dropout) whatever train() says.
  Module& freeze(bool on = true) {
    frozen_ = on;
    training_ = training_ && !on;
    for (StateEntry& t : tensors_)
      if (t.is_parameter) t.tensor.set_requires_grad(!on);
    for (auto& c : children_) c.module->freeze(on);
    return *this;
  }
  bool frozen() const { return frozen_; }

  /// Converts every floating parameter and buffer. Handles held elsewhere (optimizers) stay valid.
  /// Gradients are dropped.
  /// @throws Error for a dtype that is not floating.
  Module& to(DType dtype) {
    check(is_floating(dtype), "module", "parameters cannot be {}", atlas::name(dtype));
    for (const StateEntry& e : state_entries())
      if (is_floating(e.tensor.dtype()) && e.tensor.dtype() != dtype) replace(e.tensor, e.tensor.detach().to(dtype));
    return *this;
  }
  /// Moves every parameter and buffer to a device.
  Module& to(Device device) {
    for (const StateEntry& e : state_entries())
      if (e.tensor.device() != device) replace(e.tensor, e.tensor.detach().to(device));
    return *this;
  }

  /// Where its first parameter is; the CPU when it has none.
  Device device() const {
    const std::vector<Tensor> all = parameters();
    return all.empty() ? Device{} : all.front().device();
  }

  /// Parameters and buffers of the whole tree: a module's own first, then its children's in the order of registration.
  std::vector<StateEntry> state_entries() const {
    std::vector<StateEntry> all;
    collect("", all);
    return all;
  }
  /// Parameters with their dotted names.
  std::vector<std::pair<std::string, Tensor>> named_parameters() const { return named(true); }
  /// Buffers (running statistics) with their dotted names.
  std::vector<std::pair<std::string, Tensor>> named_buffers() const { return named(false); }
  std::vector<Tensor> parameters() const {
    std::vector<Tensor> all;
    for (auto& [name, tensor] : named_parameters()) all.push_back(tensor);
    return all;
  }
  /// This module (named "") and everything below, parents first.
  std::vector<std::pair<std::string, Module*>> named_modules() {
    std::vector<std::pair<std::string, Module*>> all;
    collect_modules("", all);
    return all;
  }
  /// Number of trainable values.
  int64_t parameter_count() const {
    int64_t n = 0;
    for (const Tensor& p : parameters()) n += p.numel();
    return n;
  }
  /// Drops every parameter's gradient.
  void zero_grad() const {
    for (Tensor& p : parameters()) p.zero_grad();
  }

  /// Parameters and buffers by published name, in published layout. The tensors are views of the module's memory:
  /// writing a file costs no copy of the model, and a snapshot is copy_of() of each.
  StateDict state_dict() const {
    StateDict dict;
    for (const StateEntry& e : state_entries()) dict.emplace(e.name, published_view(e.tensor, e.layout));
    return dict;
  }
  /// Copies values into parameters and buffers, converting floating dtypes. Nothing changes when the dictionary does
  /// not fit.
  /// @param dict        tensors in published layout; may_be_missing() says what it may always lack
  /// @param strictness  what may be missing from or superfluous in `dict`
  /// @return what was missing and unexpected
  /// @throws Error listing the missing and unexpected names and the tensors of another shape.
  LoadReport load_state_dict(const StateDict& dict, Strictness strictness = Strictness::strict) {
    LoadReport report;
    std::vector<std::pair<Tensor, const Tensor*>> copies;
    StateDict own;
    for (const StateEntry& e : state_entries()) {
      Tensor to = published_view(e.tensor, e.layout);
      own.emplace(e.name, to);
      const auto from = dict.find(e.name);
      if (from == dict.end()) {
        if (!may_be_missing(e.name)) report.missing.push_back(e.name);
      } else if (!from->second.defined() || from->second.shape() != to.shape() ||
                 (is_floating(to.dtype()) && !is_floating(from->second.dtype()))) {
        report.mismatched.push_back(fmt::format("{}: model {}, file {}", e.name, describe(to), describe(from->second)));
      } else {
        copies.emplace_back(to, &from->second);
      }
    }
    for (const auto& [name, tensor] : dict)
      if (!own.contains(name)) report.unexpected.push_back(name);
    const bool missing_ok = strictness == Strictness::allow_missing || strictness == Strictness::allow_both;
    const bool unexpected_ok = strictness == Strictness::allow_unexpected || strictness == Strictness::allow_both;
    check(report.mismatched.empty() && (missing_ok || report.missing.empty()) &&
              (unexpected_ok || report.unexpected.empty()),
          "load_state_dict", "the tensors do not fit this model (is it another model's checkpoint?): {}", report.str());
    for (auto& [to, from] : copies) {
      copy_elements(to, *from);
      to.bump_version();
      if (from->is_contiguous())  // of a mapped file: a model that loads takes no more memory than itself
        from->impl().storage->discard(from->raw(), from->numel() * item_size(from->dtype()));
    }
    return report;
  }

 protected:
  /// Registers a trainable tensor (a member of the derived class) and makes it require a gradient.
  /// @throws Error for an empty name, a dot in it, a name used before, or a tensor that is not floating.
  void register_parameter(const std::string& name, Tensor& tensor, Layout layout = Layout::plain) {
    claim(name);
    check(tensor.defined() && is_floating(tensor.dtype()), "module", "parameter '{}' must be a floating tensor, got {}",
          name, describe(tensor));
    tensor.set_requires_grad();
    tensors_.push_back({name, tensor, layout, true});
  }
  /// Registers a tensor that is saved and loaded but not trained. @throws Error as register_parameter.
  void register_buffer(const std::string& name, Tensor& tensor) {
    claim(name);
    check(tensor.defined(), "module", "buffer '{}' is undefined", name);
    tensors_.push_back({name, tensor, Layout::plain, false});
  }
  /// Registers a child (a member of the derived class). @throws Error as register_parameter.
  void register_module(const std::string& name, Module& child) {
    claim(name);
    check(&child != this, "module", "module '{}' cannot be its own child", name);
    children_.push_back({name, &child});
  }
  /// Registers a child that has no name of its own: what is below it appears under this module's names, as if it were
  /// registered here, and named_modules() does not list the part itself. @throws Error as register_parameter.
  void register_part(Module& part) {
    check(&part != this, "module", "a module cannot be its own part");
    claim_names_of(part);
    children_.push_back({"", &part});
  }
  /// Several children at once: register_modules({{"fc1", fc1}, {"fc2", fc2}}).
  void register_modules(std::initializer_list<std::pair<const char*, std::reference_wrapper<Module>>> children) {
    for (const auto& [name, child] : children) register_module(name, child);
  }

 private:
  struct Child {
    std::string name;  // "" for a part
    Module* module;
  };

  /// While a profile is taken: says which module runs.
  class LayerScope {
   public:
    explicit LayerScope(const Module& m) {
      if (!profiling()) [[likely]]
        return;
      active_ = true;
      outer_ = std::exchange(running(), &m);
      outer_path_ = detail::profile_layer();
      const std::string below = outer_ != nullptr ? outer_->path_to(m) : "";
      detail::profile_layer() = below.empty() || outer_path_.empty() ? below : outer_path_ + "." + below;
    }
    ~LayerScope() {
      if (!active_) [[likely]]
        return;
      running() = outer_;
      detail::profile_layer() = outer_path_;
    }
    LayerScope(const LayerScope&) = delete;
    LayerScope& operator=(const LayerScope&) = delete;

   private:
    static const Module*& running() {
      thread_local const Module* module = nullptr;
      return module;
    }
    bool active_ = false;
    const Module* outer_ = nullptr;
    std::string outer_path_;
  };
  /// "blocks.0.norm" when that module is below this one, else "".
  std::string path_to(const Module& m) const {
    for (const Child& c : children_) {
      if (c.module == &m) return c.name;
      if (const std::string below = c.module->path_to(m); !below.empty()) return join(c.name, below);
    }
    return "";
  }

  void claim(const std::string& name) const {
    check(!name.empty() && name.find('.') == std::string::npos, "module",
          "'{}' is no name for a parameter or child: it must not be empty or contain a dot", name);
    check(!has(name), "module", "the name '{}' is registered twice", name);
  }
  void claim_names_of(const Module& part) const {
    for (const auto& t : part.tensors_) claim(t.name);
    for (const auto& c : part.children_) {
      if (c.name.empty())
        claim_names_of(*c.module);
      else
        claim(c.name);
    }
  }
  bool has(const std::string& name) const {
    return std::any_of(tensors_.begin(), tensors_.end(), [&](const auto& t) { return t.name == name; }) ||
           std::any_of(children_.begin(), children_.end(),
                       [&](const auto& c) { return c.name == name || (c.name.empty() && c.module->has(name)); });
  }
  /// The path of `below` in a child: a part adds no name.
  static std::string join(const std::string& child, const std::string& below) {
    return child.empty() || below.empty() ? child + below : child + "." + below;
  }
  void collect(const std::string& prefix, std::vector<StateEntry>& all) const {
    for (const int parameters : {1, 0})
      for (const StateEntry& t : tensors_)
        if (t.is_parameter == (parameters != 0)) all.push_back({prefix + t.name, t.tensor, t.layout, t.is_parameter});
    for (const Child& c : children_) c.module->collect(c.name.empty() ? prefix : prefix + c.name + ".", all);
  }
  void collect_modules(const std::string& path, std::vector<std::pair<std::string, Module*>>& all) {
    all.emplace_back(path, this);
    collect_children(path, all);
  }
  void collect_children(const std::string& path, std::vector<std::pair<std::string, Module*>>& all) {
    for (const Child& c : children_) {
      if (c.name.empty())
        c.module->collect_children(path, all);
      else
        c.module->collect_modules(join(path, c.name), all);
    }
  }
  std::vector<std::pair<std::string, Tensor>> named(bool parameters) const {
    std::vector<std::pair<std::string, Tensor>> some;
    for (StateEntry& e : state_entries())
      if (e.is_parameter == parameters) some.emplace_back(std::move(e.name), std::move(e.tensor));
    return some;
  }
  /// Gives the tensor object behind a handle other memory, so that every handle on it sees the change.
  static void replace(const Tensor& tensor, const Tensor& with) {
    const Tensor fresh = with.is_contiguous() ? with : copy_of(with);
    TensorImpl& impl = tensor.impl();
    impl.storage = fresh.impl().storage;
    impl.strides = fresh.strides();
    impl.offset = fresh.offset();
    impl.dtype = fresh.dtype();
    impl.grad.reset();
  }

  std::vector<StateEntry> tensors_;
  std::vector<Child> children_;
  bool training_ = true, frozen_ = false;
};

}  // namespace atlas::inline ATLAS_ABI
