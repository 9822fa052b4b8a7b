// Copies and conversions that autograd follows: contiguous(), clone(), to(dtype), to(device).
#pragma once

#include "atlas/autograd/node.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
/// x with another element type, outside the graph; x itself when it has that type already.
Tensor copy_as(const Tensor& x, DType dtype);
}  // namespace detail

/// y = x with elements in row-major order without gaps; x itself when it is so already.
/// @param x  any shape and dtype
/// @return a tensor of the same shape and dtype
Tensor contiguous(const Tensor& x);

/// y = x in fresh, contiguous memory. Differentiable: dx = dy.
/// @param x  any shape and dtype
/// @return a tensor of the same shape and dtype that shares nothing with x
Tensor clone(const Tensor& x);

/// y = x with another element type; x itself when it has that type already.
///
/// Floats round to nearest even; floats become integers by truncation, clamped to the range of the type (NaN gives 0);
/// anything that is not 0 is true. Between floating types the conversion is differentiable (dx = dy converted back);
/// integer and boolean results are outside the graph.
/// @param x  any shape and dtype
Tensor to(const Tensor& x, DType dtype);

/// y = x on another device; x itself when it is there already. dx = dy on x's device.
/// @throws Error when this build cannot reach the device.
Tensor to(const Tensor& x, Device device);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/cast-inl.h"
#endif
