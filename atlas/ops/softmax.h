// Softmax and log-softmax over any axis, fused; their composites of plain ops for comparison.
#pragma once

#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

Tensor softmax_along(const char* op, const Tensor& x, int64_t axis, bool logarithm);

}  // namespace detail

/// y_i = exp(x_i) / sum_j exp(x_j) along an axis, computed without overflow.
/// @param x     float32 or float64, any shape of at least one axis
/// @param axis  in [-n, n) for n axes
/// @return x's shape
/// @throws Error for an axis that is not there or another dtype.
Tensor softmax(const Tensor& x, int axis = -1);

/// y_i = x_i - log sum_j exp(x_j) along an axis, computed without overflow.
/// @param x     float32 or float64, any shape of at least one axis
/// @param axis  in [-n, n) for n axes
/// @return x's shape
/// @throws Error for an axis that is not there or another dtype.
Tensor log_softmax(const Tensor& x, int axis = -1);

/// softmax from plain ops.
Tensor softmax_reference(const Tensor& x, int axis = -1);

/// log_softmax from plain ops.
Tensor log_softmax_reference(const Tensor& x, int axis = -1);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/softmax-inl.h"
#endif
