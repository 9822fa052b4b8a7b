// Bodies of cast.h.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/ops/cast.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE Tensor copy_as(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = empty(x.shape(), dtype, x.device());
  copy_elements(y, x);
  return y;
}

}  // namespace detail

ATLAS_INLINE Tensor contiguous(const Tensor& x) {
  if (x.is_contiguous()) return x;
  return record("contiguous", copy_of(x), {x}, [](const Tensor& dy) { return Grads{dy}; });
}

ATLAS_INLINE Tensor clone(const Tensor& x) {
  return record("clone", copy_of(x), {x}, [](const Tensor& dy) { return Grads{dy}; });
}

ATLAS_INLINE Tensor to(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = detail::copy_as(x, dtype);
  if (!is_floating(dtype)) return y;
  return record("to", std::move(y), {x}, [from = x.dtype()](const Tensor& dy) { return Grads{to(dy, from)}; });
}

ATLAS_INLINE Tensor to(const Tensor& x, Device device) {
  if (x.device() == device) return x;
  if (device.is_cuda() && !kWithCuda) fail_no_cuda("to");
  Tensor y = empty(x.shape(), x.dtype(), device);
  copy_elements(y, x);
  if (!is_floating(x.dtype())) return y;
  return record("to", std::move(y), {x}, [from = x.device()](const Tensor& dy) { return Grads{to(dy, from)}; });
}

ATLAS_INLINE Tensor Tensor::contiguous() const { return atlas::contiguous(*this); }

ATLAS_INLINE Tensor Tensor::clone() const { return atlas::clone(*this); }

ATLAS_INLINE Tensor Tensor::to(DType dtype) const { return atlas::to(*this, dtype); }

ATLAS_INLINE Tensor Tensor::to(Device device) const { return atlas::to(*this, device); }

}  // namespace atlas::inline ATLAS_ABI
