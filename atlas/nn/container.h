// Modules made of modules: Sequential runs its children in order, ModuleList only owns them.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "atlas/nn/activation.h"
#include "atlas/nn/conv_norm.h"
#include "atlas/nn/module.h"

namespace atlas::inline ATLAS_ABI {

/// y = f_{n-1}(... f_0(x)). Children are called "0", "1", ...
///
/// Example: `Sequential net; net.add<Linear>(2, 64); net.add<ReLU>(); net.add<Linear>(64, 2);`
///
/// A Conv2d and the BatchNorm2d right behind it run as one ConvNorm, and so does a ReLU, GELU or SiLU behind that. The
/// result is the same up to rounding: in inference the norm is part of the convolution's weights. joined() says which
/// layers are run so; each is still called by itself where somebody watches its output (LayerWatch). A layer that must
/// stay alone goes into a Sequential of its own.
class Sequential : public Module {
 public:
  /// Appends a layer built in place from `args`, and returns it.
  template <class M, class... Args>
  M& add(Args&&... args) {
    auto layer = std::make_unique<M>(std::forward<Args>(args)...);
    M& ref = *layer;
    register_module(std::to_string(layers_.size()), ref);
    if constexpr (std::is_base_of_v<BatchNorm2d, M>)
      if (const auto* conv = layers_.empty() ? nullptr : dynamic_cast<const Conv2d*>(layers_.back().get()))
        pairs_.back().conv_norm = std::make_unique<ConvNorm>(*conv, ref);
    if (layers_.size() >= 2 && pairs_[layers_.size() - 2].conv_norm) {
      Activation& after = pairs_[layers_.size() - 2].activation;
      if constexpr (std::is_same_v<ReLU, M>) after = Activation::relu;
      if constexpr (std::is_same_v<GELU, M>) after = Activation::gelu;
      if constexpr (std::is_same_v<SiLU, M>) after = Activation::silu;
    }
    layers_.push_back(std::move(layer));
    pairs_.emplace_back();
    return ref;
  }
  ATLAS_INLINE Tensor forward(const Tensor& x) const override;
  /// The layers that run as one ConvNorm: the first of each group, and how many there are.
  std::vector<std::pair<size_t, size_t>> joined() const;
  size_t size() const { return layers_.size(); }
  /// Child i. @throws Error when there are fewer.
  Module& operator[](size_t i) const;

 private:
  std::vector<std::unique_ptr<Module>> layers_;
  struct Pair {
    std::unique_ptr<ConvNorm> conv_norm;       // of layers i and i + 1, or null
    Activation activation = Activation::none;  // which layer i + 2 is
  };
  std::vector<Pair> pairs_;
};

/// Owns modules of one type (or derived from it) called "0", "1", ...
template <class M = Module>
class ModuleList : public Module {
 public:
  /// Appends a module of type T (M unless given) built in place from `args`, and returns it.
  template <class T = M, class... Args>
  T& add(Args&&... args) {
    auto module = std::make_unique<T>(std::forward<Args>(args)...);
    T& ref = *module;
    register_module(std::to_string(modules_.size()), ref);
    modules_.push_back(std::move(module));
    return ref;
  }
  size_t size() const { return modules_.size(); }
  /// Module i. @throws Error when there are fewer.
  M& operator[](size_t i) const {
    check(i < modules_.size(), "ModuleList", "module {} of {}", i, modules_.size());
    return *modules_[i];
  }
  auto begin() const { return modules_.begin(); }  ///< of unique_ptr<M>
  auto end() const { return modules_.end(); }

 private:
  std::vector<std::unique_ptr<M>> modules_;
};

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/nn/container-inl.h"
#endif
