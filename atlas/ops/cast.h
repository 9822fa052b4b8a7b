// Copies and conversions that autograd follows: contiguous(), clone(), to(dtype), to(device).
#pragma once

#include "atlas/autograd/node.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
/// x with another element type, outside the graph; x itself when it has that type already.
inline Tensor copy_as(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = empty(x.shape(), dtype, x.device());
  copy_elements(y, x);
  return y;
}
}  // namespace detail

/// y = x with elements in row-major order without gaps; x itself when it is so already.
/// @param x  any shape and dtype
/// @return a tensor of the same shape and dtype
inline Tensor contiguous(const Tensor& x) {
  if (x.is_contiguous()) return x;
  return record("contiguous", copy_of(x), {x}, [](const Tensor& dy) { return Grads{dy}; });
}

/// y = x in fresh, contiguous memory. Differentiable: dx = dy.
/// @param x  any shape and dtype
/// @return a tensor of the same shape and dtype that shares nothing with x
inline Tensor clone(const Tensor& x) {
  return record("clone", copy_of(x), {x}, [](const Tensor& dy) { return Grads{dy}; });
}

/// y = x with another element type; x itself when it has that type already.
///
/// Floats round to nearest even; floats become integers by truncation, clamped to the range of the type (NaN gives 0);
/// anything that is not 0 is true. Between floating types the conversion is differentiable (dx = dy converted back);
/// integer and boolean results are outside the graph.
/// @param x  any shape and dtype
inline Tensor to(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = detail::copy_as(x, dtype);
  if (!is_floating(dtype)) return y;
  return record("to", std::move(y), {x}, [from = x.dtype()](const Tensor& dy) { return Grads{to(dy, from)}; });
}

/// y = x on another device; x itself when it is there already. dx = dy on x's device.
/// @throws Error when this build cannot reach the device.
inline Tensor to(const Tensor& x, Device device) {
  if (x.device() == device) return x;
  if (device.is_cuda() && !kWithCuda) fail_no_cuda("to");
  Tensor y = empty(x.shape(), x.dtype(), device);
  copy_elements(y, x);
  if (!is_floating(x.dtype())) return y;
  return record("to", std::move(y), {x}, [from = x.device()](const Tensor& dy) { return Grads{to(dy, from)}; });
}

inline Tensor Tensor::contiguous() const { return atlas::contiguous(*this); }
inline Tensor Tensor::clone() const { return atlas::clone(*this); }
inline Tensor Tensor::to(DType dtype) const { return atlas::to(*this, dtype); }
inline Tensor Tensor::to(Device device) const { return atlas::to(*this, device); }

}  // namespace atlas::inline ATLAS_ABI
