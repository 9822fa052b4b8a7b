// Linear, and the two-layer perceptron of transformer blocks.
#pragma once

#include "atlas/nn/init.h"
#include "atlas/nn/module.h"
#include "atlas/ops/matmul.h"
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
  Tensor forward(const Tensor& x) const override { return linear(x, weight, bias); }

  Tensor weight, bias;  // [out, in], [out] (undefined without bias)
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
    Tensor h = fc1(x);
    h = gelu(h);
    return fc2(h);
  }

  Linear fc1, fc2;
};

}  // namespace atlas::inline ATLAS_ABI
