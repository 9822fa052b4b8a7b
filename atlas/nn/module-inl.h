// Bodies of module.h.
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
#include "atlas/nn/module.h"
#include "atlas/nn/state.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/fuse.h"
#include "atlas/ops/watch.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor Module::forward(const Tensor& x) const {
  fail("module", "{} has no forward(x), called with {}", typeid(*this).name(), describe(x));
}

ATLAS_INLINE Tensor Module::forward_onto(const Tensor& residual, const Tensor& x, const Tensor& scale) const {
  return add_scaled(residual, forward(x), scale);
}

ATLAS_INLINE Tensor Module::operator()(const Tensor& x) const {
  const LayerScope layer(*this);
  return detail::watched(this, forward(x));
}

ATLAS_INLINE Tensor Module::operator()(Tensor&& x) const {
  const LayerScope layer(*this);
  return detail::watched(this, forward_owned(std::move(x)));
}

ATLAS_INLINE Tensor Module::onto(const Tensor& residual, const Tensor& x, const Tensor& scale) const {
  return detail::joined_in_inference(
      [&] {
        const LayerScope layer(*this);
        return forward_onto(residual, x, scale);
      },
      [&] { return add_scaled(residual, (*this)(x), scale); });
}

ATLAS_INLINE Module& Module::train(bool on) {
  training_ = on && !frozen_;
  for (auto& c : children_) c.module->train(on);
  return *this;
}

ATLAS_INLINE Module& Module::freeze(bool on) {
  frozen_ = on;
  training_ = training_ && !on;
  for (StateEntry& t : tensors_)
    if (t.is_parameter) t.tensor.set_requires_grad(!on);
  for (auto& c : children_) c.module->freeze(on);
  return *this;
}

ATLAS_INLINE Module& Module::to(DType dtype) {
  check(is_floating(dtype), "module", "parameters cannot be {}", atlas::name(dtype));
  for (const StateEntry& e : state_entries())
    if (is_floating(e.tensor.dtype()) && e.tensor.dtype() != dtype) replace(e.tensor, e.tensor.detach().to(dtype));
  return *this;
}

ATLAS_INLINE Module& Module::to(Device device) {
  for (const StateEntry& e : state_entries())
    if (e.tensor.device() != device) replace(e.tensor, e.tensor.detach().to(device));
  return *this;
}

ATLAS_INLINE Device Module::device() const {
  const std::vector<Tensor> all = parameters();
  return all.empty() ? Device{} : all.front().device();
}

ATLAS_INLINE std::vector<StateEntry> Module::state_entries() const {
  std::vector<StateEntry> all;
  collect("", all);
  return all;
}

ATLAS_INLINE std::vector<Tensor> Module::parameters() const {
  std::vector<Tensor> all;
  for (auto& [name, tensor] : named_parameters()) all.push_back(tensor);
  return all;
}

ATLAS_INLINE std::vector<std::pair<std::string, Module*>> Module::named_modules() {
  std::vector<std::pair<std::string, Module*>> all;
  collect_modules("", all);
  return all;
}

ATLAS_INLINE int64_t Module::parameter_count() const {
  int64_t n = 0;
  for (const Tensor& p : parameters()) n += p.numel();
  return n;
}

ATLAS_INLINE void Module::zero_grad() const {
  for (Tensor& p : parameters()) p.zero_grad();
}

ATLAS_INLINE StateDict Module::state_dict() const {
  StateDict dict;
  for (const StateEntry& e : state_entries()) dict.emplace(e.name, published_view(e.tensor, e.layout));
  return dict;
}

ATLAS_INLINE LoadReport Module::load_state_dict(const StateDict& dict, Strictness strictness) {
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

ATLAS_INLINE void Module::register_parameter(const std::string& name, Tensor& tensor, Layout layout) {
  claim(name);
  check(tensor.defined() && is_floating(tensor.dtype()), "module", "parameter '{}' must be a floating tensor, got {}",
        name, describe(tensor));
  tensor.set_requires_grad();
  tensors_.push_back({name, tensor, layout, true});
}

ATLAS_INLINE void Module::register_buffer(const std::string& name, Tensor& tensor) {
  claim(name);
  check(tensor.defined(), "module", "buffer '{}' is undefined", name);
  tensors_.push_back({name, tensor, Layout::plain, false});
}

ATLAS_INLINE void Module::register_module(const std::string& name, Module& child) {
  claim(name);
  check(&child != this, "module", "module '{}' cannot be its own child", name);
  children_.push_back({name, &child});
}

ATLAS_INLINE void Module::register_part(Module& part) {
  check(&part != this, "module", "a module cannot be its own part");
  claim_names_of(part);
  children_.push_back({"", &part});
}

ATLAS_INLINE void Module::register_modules(
    std::initializer_list<std::pair<const char*, std::reference_wrapper<Module>>> children) {
  for (const auto& [name, child] : children) register_module(name, child);
}

ATLAS_INLINE Module::LayerScope::LayerScope(const Module& m) {
  if (!profiling()) [[likely]]
    return;
  active_ = true;
  outer_ = std::exchange(running(), &m);
  outer_path_ = detail::profile_layer();
  const std::string below = outer_ != nullptr ? outer_->path_to(m) : "";
  detail::profile_layer() = below.empty() || outer_path_.empty() ? below : outer_path_ + "." + below;
}

ATLAS_INLINE Module::LayerScope::~LayerScope() {
  if (!active_) [[likely]]
    return;
  running() = outer_;
  detail::profile_layer() = outer_path_;
}

ATLAS_INLINE const Module*& Module::LayerScope::running() {
  thread_local const Module* module = nullptr;
  return module;
}

ATLAS_INLINE std::string Module::path_to(const Module& m) const {
  for (const Child& c : children_) {
    if (c.module == &m) return c.name;
    if (const std::string below = c.module->path_to(m); !below.empty()) return join(c.name, below);
  }
  return "";
}

ATLAS_INLINE void Module::claim(const std::string& name) const {
  check(!name.empty() && name.find('.') == std::string::npos, "module",
        "'{}' is no name for a parameter or child: it must not be empty or contain a dot", name);
  check(!has(name), "module", "the name '{}' is registered twice", name);
}

ATLAS_INLINE void Module::claim_names_of(const Module& part) const {
  for (const auto& t : part.tensors_) claim(t.name);
  for (const auto& c : part.children_) {
    if (c.name.empty())
      claim_names_of(*c.module);
    else
      claim(c.name);
  }
}

ATLAS_INLINE bool Module::has(const std::string& name) const {
  return std::any_of(tensors_.begin(), tensors_.end(), [&](const auto& t) { return t.name == name; }) ||
         std::any_of(children_.begin(), children_.end(),
                     [&](const auto& c) { return c.name == name || (c.name.empty() && c.module->has(name)); });
}

ATLAS_INLINE std::string Module::join(const std::string& child, const std::string& below) {
  return child.empty() || below.empty() ? child + below : child + "." + below;
}

ATLAS_INLINE void Module::collect(const std::string& prefix, std::vector<StateEntry>& all) const {
  for (const int parameters : {1, 0})
    for (const StateEntry& t : tensors_)
      if (t.is_parameter == (parameters != 0)) all.push_back({prefix + t.name, t.tensor, t.layout, t.is_parameter});
  for (const Child& c : children_) c.module->collect(c.name.empty() ? prefix : prefix + c.name + ".", all);
}

ATLAS_INLINE void Module::collect_modules(const std::string& path, std::vector<std::pair<std::string, Module*>>& all) {
  all.emplace_back(path, this);
  collect_children(path, all);
}

ATLAS_INLINE void Module::collect_children(const std::string& path, std::vector<std::pair<std::string, Module*>>& all) {
  for (const Child& c : children_) {
    if (c.name.empty())
      c.module->collect_children(path, all);
    else
      c.module->collect_modules(join(path, c.name), all);
  }
}

ATLAS_INLINE std::vector<std::pair<std::string, Tensor>> Module::named(bool parameters) const {
  std::vector<std::pair<std::string, Tensor>> some;
  for (StateEntry& e : state_entries())
    if (e.is_parameter == parameters) some.emplace_back(std::move(e.name), std::move(e.tensor));
  return some;
}

ATLAS_INLINE void Module::replace(const Tensor& tensor, const Tensor& with) {
  const Tensor fresh = with.is_contiguous() ? with : copy_of(with);
  TensorImpl& impl = tensor.impl();
  impl.storage = fresh.impl().storage;
  impl.strides = fresh.strides();
  impl.offset = fresh.offset();
  impl.dtype = fresh.dtype();
  impl.grad.reset();
}

}  // namespace atlas::inline ATLAS_ABI
