// Linear, and the two-layer perceptron of transformer blocks.
#pragma once

#include "atlas/nn/init.h"
#include "atlas/nn/module.h"
#include "atlas/ops/fuse.h"
#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

/// y = x Wᵀ + b.   x: [..., in] -> y: [..., out]
///
/// Starts uniform in ±1/√in.
class Linear : public Module {
 public:
  /// @param in, out  numbers of features, >= 1
  Linear(int64_t in, int64_t out, bool with_bias = true) {
    detail::check_size("Linear", "in", in);
    detail::check_size("Linear", "out", out);
    weight = empty({out, in});
    register_parameter("weight", weight);
    if (with_bias) {
      bias = empty({out});
      register_parameter("bias", bias);
    }
    detail::default_init(weight, bias, Layout::plain);
  }
  Tensor forward(const Tensor& x) const override { return activated(x, Activation::none); }
  /// activation(x Wᵀ + b)
  Tensor activated(const Tensor& x, Activation activation) const {
    return linear(x, weight, bias, packed, {.activation = activation});
  }
  Tensor forward_onto(const Tensor& residual, const Tensor& x, const Tensor& scale) const override {
    return linear(x, weight, bias, packed, {.residual = residual, .scale = scale});
  }

  Tensor weight, bias;  // [out, in], [out] (undefined without bias)
  PackedWeight packed;  // the weight as kernels read it
};

/// y = W₂ gelu(W₁ x + b₁) + b₂ with the exact GELU.   x: [..., dim] -> y: [..., dim]
class Mlp : public Module {
 public:
  /// @param dim     features in and out
  /// @param hidden  features between the layers
  Mlp(int64_t dim, int64_t hidden) : fc1(dim, hidden), fc2(hidden, dim) {
    register_modules({{"fc1", fc1}, {"fc2", fc2}});
  }
  Tensor forward(const Tensor& x) const override {
    return detail::joined_unless_watched(
        [&] { return mlp(x, fc1.weight, fc1.bias, fc1.packed, fc2.weight, fc2.bias, fc2.packed); },
        [&] { return fc2(gelu(fc1(x))); });
  }
  Tensor forward_onto(const Tensor& residual, const Tensor& x, const Tensor& scale) const override {
    return fc2.onto(residual, fc1.activated(x, Activation::gelu), scale);
  }

  Linear fc1, fc2;
};

}  // namespace atlas::inline ATLAS_ABI
