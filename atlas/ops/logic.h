// Logic on tensors, element by element and over axes; which numbers are finite or equal. No gradients.
//
// A number counts as true unless it is 0; NaN is true. Results are boolean tensors.
#pragma once

#include "atlas/ops/compare.h"

namespace atlas::inline ATLAS_ABI {

/// a and b. Also written a & b, of boolean tensors.
/// @param a,b  any numbers or bool, not necessarily of one dtype; shapes that broadcast
/// @return a boolean tensor of the broadcast shape
/// @throws Error when devices differ or shapes do not broadcast; so do all functions of two tensors here
ATLAS_INLINE Tensor logical_and(const Tensor& a, const Tensor& b);
/// a or b. Also written a | b, of boolean tensors.
ATLAS_INLINE Tensor logical_or(const Tensor& a, const Tensor& b);
/// Either a or b, but not both. Also written a ^ b, of boolean tensors.
ATLAS_INLINE Tensor logical_xor(const Tensor& a, const Tensor& b);
/// True where x is 0 or false. Also written ~x, of a boolean tensor.
ATLAS_INLINE Tensor logical_not(const Tensor& x);

/// Whether any element over axes is true.
/// @param x  any numbers or bool
/// @param axes  an axis or several, {0, 2}; negative ones count from the end; empty means all
/// @param keepdim  keep the reduced axes with length 1
/// @return bool, x's shape without the axes; false for nothing
/// @throws Error for an axis out of range or given twice
ATLAS_INLINE Tensor any(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
/// Whether all elements over axes are true; true for nothing. Everything else as any().
ATLAS_INLINE Tensor all(const Tensor& x, const Shape& axes = {}, bool keepdim = false);

/// Over one axis by its number: any(x, 0) is any(x, {0}).
template <AxisNumber A>
Tensor any(const Tensor& x, A axis, bool keepdim = false) {
  return any(x, Shape{static_cast<int64_t>(axis)}, keepdim);
}
template <AxisNumber A>
Tensor all(const Tensor& x, A axis, bool keepdim = false) {
  return all(x, Shape{static_cast<int64_t>(axis)}, keepdim);
}

/// True where x is neither infinite nor NaN.
/// @param x  any dtype
ATLAS_INLINE Tensor isfinite(const Tensor& x);

/// Whether |a - b| <= atol + rtol |b| for every element; infinities must be equal.
/// @param a,b  any numbers or bool, not necessarily of one dtype; shapes that broadcast
/// @param equal_nan  NaN equals NaN
ATLAS_INLINE bool allclose(const Tensor& a, const Tensor& b, double rtol = 1e-5, double atol = 1e-8,
                           bool equal_nan = false);

/// @throws Error unless both are boolean: bits of integers have no operators here
ATLAS_INLINE Tensor operator&(const Tensor& a, const Tensor& b);
ATLAS_INLINE Tensor operator|(const Tensor& a, const Tensor& b);
ATLAS_INLINE Tensor operator^(const Tensor& a, const Tensor& b);
ATLAS_INLINE Tensor operator~(const Tensor& x);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/logic-inl.h"
#endif
