// Linear, and the two-layer perceptron of transformer blocks.
#pragma once

#include "atlas/autograd/autocast.h"
#include "atlas/core/isa.h"
#include "atlas/core/precision.h"
#include "atlas/kernels/gemm.h"
#include "atlas/nn/derived.h"
#include "atlas/nn/init.h"
#include "atlas/nn/module.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/memory.h"

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
  /// activation(x Wᵀ + b), in one pass where nothing is recorded.
  Tensor activated(const Tensor& x, Activation activation) const {
    if (detail::inference_mode() && x.dim() > 0) return fused(x, {.activation = activation});
    packed_.clear();
    return activate(linear(x, weight, bias), activation);
  }
  Tensor forward_onto(const Tensor& residual, const Tensor& x, const Tensor& scale) const override {
    // A sum has the wider of two types, and products on CUDA devices know no scale.
    const bool fits = x.dim() > 0 && !x.device().is_cuda() && !detail::autocasts(x) && residual.dtype() == x.dtype() &&
                      residual.dtype() == weight.dtype() &&
                      (!scale.defined() || (scale.dtype() == x.dtype() && scale.is_contiguous()));
    if (!fits) return Module::forward_onto(residual, x, scale);
    return fused(x, {.residual = residual.is_contiguous() ? residual : copy_of(residual), .scale = scale});
  }
  /// Lets go of weights packed for inference.
  void forget_packed() const { packed_.clear(); }

  Tensor weight, bias;  // [out, in], [out] (undefined without bias)

 private:
  Tensor fused(const Tensor& x, Fused what) const {
    if (!x.device().is_cuda()) {
      const int64_t rows = x.numel() / std::max<int64_t>(1, x.size(-1));
      what.packed = packed_.get(
          {weight}, [&] { return kernels::packed_weight(weight.detach(), rows); },
          {static_cast<int64_t>(cpu_isa()), kernels::worth_packing(rows), static_cast<int64_t>(inference_precision())});
    }
    return linear(x, weight, bias, what);
  }

  Derived<Tensor> packed_{Derived<Tensor>::Keep::at_second_use};
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
    if (detail::inference_mode()) return fc2(fc1.activated(x, Activation::gelu));
    if (detail::module_observer() != nullptr) return fc2(gelu(fc1(x)));  // who watches sees both layers
    fc1.forget_packed();
    fc2.forget_packed();
    return mlp(x, fc1.weight, fc1.bias, fc2.weight, fc2.bias);
  }
  Tensor forward_onto(const Tensor& residual, const Tensor& x, const Tensor& scale) const override {
    return fc2.onto(residual, fc1.activated(x, Activation::gelu), scale);
  }

  Linear fc1, fc2;
};

}  // namespace atlas::inline ATLAS_ABI
