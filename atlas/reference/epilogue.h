// What products and convolutions do with their result, as a loop over it.
#pragma once

#include "atlas/kernels/gemm_epilogue.h"
#include "atlas/reference/activation.h"
#include "atlas/reference/elements.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

/// With z = y + bias:  y = f(z) scale + residual, and z is kept as `pre_activation` where that is asked for. Vectors go
/// along the last axis of y.
template <class T>
void finish(const FusedProduct& fused, const Tensor& bias, Tensor& y) {
  const int64_t channels = y.size(-1);
  const T *b = pointer<T>(bias), *scale = pointer<T>(fused.scale), *residual = pointer<T>(fused.residual);
  T *to = y.data<T>(), *kept = pointer<T>(fused.pre_activation);
  for (int64_t i = 0; i < y.numel(); ++i) {
    double z = static_cast<double>(to[i]) + (b != nullptr ? static_cast<double>(b[i % channels]) : 0);
    if (kept != nullptr) kept[i] = static_cast<T>(z);
    z = reference::activation(fused.activation, z);
    if (scale != nullptr) z *= scale[i % channels];
    to[i] = static_cast<T>(z + (residual != nullptr ? static_cast<double>(residual[i]) : 0));
  }
}
template <class T>
void finish(const Fused& fused, const Tensor& bias, Tensor& y) {
  finish<T>(FusedProduct{.activation = fused.activation, .residual = fused.residual}, bias, y);
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
