// Choosing between elements by a boolean tensor: where, masked_fill.
#pragma once

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

void check_mask(const char* op, const Tensor& mask, const Tensor& x);

}  // namespace detail

/// y = a where the condition holds, else b.   da = dy where it holds, db = dy elsewhere
/// @param condition  bool
/// @param a,b  of one dtype, any; the three shapes broadcast
/// @return a tensor of the broadcast shape
/// @throws Error when the condition is not bool, dtypes or devices differ, or shapes do not broadcast
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

/// y = value where the mask holds, else x.   dx = dy where it does not hold
/// @param x  any dtype
/// @param mask  bool, of a shape that broadcasts to x's
/// @param value  converted to x's dtype
/// @return a tensor of x's shape
/// @throws Error when the mask is not bool, does not broadcast to x, or x's dtype cannot hold the value
Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/select-inl.h"
#endif
