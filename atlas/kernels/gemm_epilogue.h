// What a matrix product or a convolution does with its result while that is still in cache.
#pragma once

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// Functions that products can apply to their result.
enum class Activation { none, relu, gelu, gelu_tanh, silu };

/// What a convolution does besides: y = activation(x * W + bias) + residual. Both backends can be given all of it.
struct Fused {
  Activation activation = Activation::none;
  Tensor residual{};  ///< contiguous and of the shape of y, or undefined
  Tensor packed{};    ///< the weights in the order in which they are read, from a packing kernel, or undefined
  bool empty() const { return activation == Activation::none && !residual.defined() && !packed.defined(); }
};

/// What a product does besides: y = activation(x W + bias) scale + residual. Both backends can be given all of it.
struct FusedProduct {
  Activation activation = Activation::none;
  Tensor residual{};        ///< contiguous and of the shape of y, or undefined
  Tensor packed{};          ///< as in Fused
  Tensor scale{};           ///< a vector over the columns, or undefined
  Tensor pre_activation{};  ///< where x W + bias is kept, contiguous and of the shape of y; or undefined
  bool empty() const {
    return activation == Activation::none && !residual.defined() && !packed.defined() && !scale.defined() &&
           !pre_activation.defined();
  }
};

/// Weights are operands of the product itself: what is packed of them is not counted again.
template <class F>
void for_each_operand(const Fused& fused, const F& f) {
  f(fused.residual);
}
template <class F>
void for_each_operand(const FusedProduct& fused, const F& f) {
  for (const Tensor* t : {&fused.residual, &fused.scale, &fused.pre_activation}) f(*t);
}

namespace cpu {

/// C = activation(C + bias) scale + residual, for a C of n columns.
template <class T>
struct GemmEpilogue {
  const T* bias = nullptr;  ///< n values, added to each row
  Activation activation = Activation::none;
  T* pre_activation = nullptr;       ///< where C + bias is kept for backward, or null; laid out like C
  const T* residual = nullptr;       ///< laid out like C, or null
  const T* scale = nullptr;          ///< n values, or null; before the residual
  const T* derivative_at = nullptr;  ///< laid out like C, or null: then C = C activation'(this), and that is all
  bool empty() const {
    return bias == nullptr && activation == Activation::none && pre_activation == nullptr && residual == nullptr &&
           scale == nullptr && derivative_at == nullptr;
  }
};

}  // namespace cpu

}  // namespace atlas::inline ATLAS_ABI
