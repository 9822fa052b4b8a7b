// matmul (batched, broadcast) and linear, with their gradients.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// `t` [..., C] as a matrix [rows, C]: a view when the rows are evenly spaced, otherwise undefined. Outside the graph.
Tensor try_rows_view(const Tensor& t);
/// `t` [..., C] as a matrix [rows, C] with contiguous rows, copied when it must be. Outside the graph.
Tensor rows_view(const Tensor& t);

Tensor swap_last_axes(const Tensor& t);

/// a b for operands of at least two axes, outside the graph; batch axes broadcast.
Tensor multiply(Tensor a, Tensor b);

/// x in bfloat16 when it is float32; its gradient comes back in float32.
Tensor narrow(const Tensor& x);
/// The residual in the type of y.
template <class F>
F fused_as(F fused, DType dtype) {
  if (fused.residual.defined()) fused.residual = copy_as(fused.residual, dtype);
  return fused;
}

/// @throws Error for a residual that is defined and unlike the result.
void check_residual(const Tensor& residual, const Tensor& y, const char* op);
/// What is fused leaves no trace in the graph, and is read as it lies.
template <class F>
void check_fused(const F& fused, const Tensor& y, const char* op) {
  check(fused.empty() || !grad_enabled(), op, "activations and residuals are fused in inference only: use NoGrad");
  check_residual(fused.residual, y, op);
}

void check_same_kind(const Tensor& a, const Tensor& b, const char* op, const char* name_a, const char* name_b);

}  // namespace detail

/// Matrix product: c[..., i, j] = sum over k of a[..., i, k] b[..., k, j].
///
/// Batch axes (all but the last two) broadcast. A vector [K] counts as a row on the left and as a column on the right,
/// and its axis is dropped from the result. Transposed views are read in place.
/// @param a  float32, float64 or, on CUDA devices, bfloat16, [K] or [..., M, K]
/// @param b  same dtype, [K] or [..., K, N]
/// @return [..., M, N]
/// @throws Error when dtypes, devices or inner lengths differ, an operand has no axis, or the batch axes do not
/// broadcast.
Tensor matmul(const Tensor& a, const Tensor& b);

/// Affine map of the last axis: y = x Wᵀ + b.
///
/// @param x       float32, float64 or, on CUDA devices, bfloat16, [..., in]
/// @param weight  same dtype, [out, in]
/// @param bias    same dtype, [out], or undefined for none
/// @param fused   what else is done to y, only where nothing is recorded
/// @return [..., out]
/// @throws Error when dtypes or devices differ, a length does not fit, or something fused would have to be recorded.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const FusedProduct& fused = {});

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/matmul-inl.h"
#endif
