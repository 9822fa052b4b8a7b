// Positions and what is there: nonzero, masked_select, index_add, one_hot, flip; gather and index_select are in
// ops/join.h.
#pragma once

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// Where x is not 0: one row of indices for each such element, in row-major order. No gradient. Waits for the device,
/// since the number of rows depends on the values.
/// @param x  float32, float64, int64, uint8 or bool, any shape; NaN is not 0
/// @return int64 [count, axes of x]
/// @throws Error for another dtype.
ATLAS_INLINE Tensor nonzero(const Tensor& x);

/// The elements of x where the mask holds, in row-major order.   dx = dy at those places, 0 elsewhere
/// @param x     any dtype
/// @param mask  bool; the two shapes broadcast
/// @return [count]. Waits for the device.
/// @throws Error for a mask that is not bool, and for shapes that do not broadcast.
ATLAS_INLINE Tensor masked_select(const Tensor& x, const Tensor& mask);

/// x with src added at the given indices of one axis: y = x, then y[.., index[k], ..] += src[.., k, ..] for each k in
/// turn.   dx = dy, dsrc[.., k, ..] = dy[.., index[k], ..]
/// @param x      float32, float64 or int64
/// @param axis   which axis; negative ones count from the end
/// @param index  int64[K], values in [0, x.shape[axis]); may repeat
/// @param src    of x's dtype and shape, with length K on `axis`
/// @return a tensor of x's shape; a count of things by class is `index_add(zeros({C}, int64), 0, classes, ones)`
/// @throws Error when dtypes or shapes do not fit, and (on the CPU) for an index that is not there.
ATLAS_INLINE Tensor index_add(const Tensor& x, int axis, const Tensor& index, const Tensor& src);

/// y[.., c] = 1 where x is c, else 0.
/// @param x        int64, values in [0, classes)
/// @param classes  how many; -1: one more than the largest of x, which waits for the device
/// @param dtype    of the result
/// @return x's shape and an axis of `classes`
/// @throws Error for an x that is not int64, and for a value outside [0, classes).
ATLAS_INLINE Tensor one_hot(const Tensor& x, int64_t classes = -1, DType dtype = int64);

/// x with the order of its elements reversed along axes.
/// @param x     any dtype
/// @param axes  an axis or several; none: x itself
/// @return x's shape
/// @throws Error for an axis that x does not have, or that is named twice.
ATLAS_INLINE Tensor flip(const Tensor& x, const Shape& axes);
template <AxisNumber A>
Tensor flip(const Tensor& x, A axis) {
  return flip(x, Shape{static_cast<int64_t>(axis)});
}

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/index-inl.h"
#endif
