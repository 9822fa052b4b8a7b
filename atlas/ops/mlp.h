// The perceptron of a transformer block as one op: on the CPU its activation rides on the products around it.
#pragma once

#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

/// mlp() from plain ops.
Tensor mlp_reference(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2);

/// y = gelu(x W₁ᵀ + b₁) W₂ᵀ + b₂ with the exact GELU, to be recorded.
///
/// On the CPU the first product writes h = x W₁ᵀ + b₁ and gelu(h) while its tiles are in cache, and the product of
/// backward, dy W₂, is multiplied with gelu'(h) there. Elsewhere it is mlp_reference().
/// @param x   float32 or float64, [..., in]
/// @param w1  same dtype, [hidden, in]
/// @param b1  same dtype, [hidden]
/// @param w2  same dtype, [out, hidden]
/// @param b2  same dtype, [out]
/// @return [..., out]
/// @throws Error when dtypes or devices differ, or a length does not fit.
Tensor mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/mlp-inl.h"
#endif
