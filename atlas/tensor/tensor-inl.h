// What a tensor checks, and how it is described.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atlas/core/device.h"
#include "atlas/core/dtype.h"
#include "atlas/core/shape.h"
#include "atlas/core/storage.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor empty(const Shape& shape, DType dtype, Device device) {
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(shape.numel(), item_size(dtype), &bytes), "empty", "the size of {} overflows 64 bits",
        shape);
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = std::make_shared<Storage>(bytes, device);
  impl->shape = shape;
  impl->strides = contiguous_strides(shape);
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

ATLAS_INLINE Tensor empty_like(const Tensor& like) { return empty(like.shape(), like.dtype(), like.device()); }

ATLAS_INLINE Tensor raw_view(const Tensor& t, const Shape& shape, const Shape& strides, int64_t offset) {
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = t.impl().storage;
  impl->shape = shape;
  impl->strides = strides;
  impl->offset = offset;
  impl->dtype = t.dtype();
  return Tensor(std::move(impl));
}

ATLAS_INLINE Tensor Tensor::detach() const { return raw_view(*this, shape(), strides(), offset()); }

ATLAS_INLINE int normalize_axis(int64_t axis, const Tensor& x, std::string_view op) {
  check(x.defined(), op, "the operand is undefined");
  const int n = x.dim();
  check(n > 0, op, "{} has no axes, asked for axis {}", describe(x), axis);
  check(axis >= -n && axis < n, op, "axis {} is outside [-{}, {}) of {}", axis, n, n, describe(x));
  return static_cast<int>(axis < 0 ? axis + n : axis);
}

ATLAS_INLINE Shape broadcast_shapes(const Tensor& a, const Tensor& b, std::string_view op) {
  return detail::broadcast(a.shape(), b.shape(), op, describe(a), describe(b));
}

ATLAS_INLINE Tensor::operator bool() const {
  if (!defined() || dtype() != boolean) return defined();
  check(numel() == 1, "bool",
        "a boolean tensor of shape {} is neither true nor false: ask any(x) or all(x), or defined()", shape());
  return item<bool>();
}

ATLAS_INLINE void check_dtype(const Tensor& x, std::string_view op, unsigned besides) {
  check(x.defined(), op, "the operand is undefined");
  const DType t = x.dtype();
  const unsigned bit = t == int64 ? takes::int64 : t == uint8 ? takes::uint8 : t == boolean ? takes::boolean : 0u;
  if (computes_as_float(x) || (besides & bit) != 0) return;
  std::vector<std::string> names{"float32"};
  if (x.device().is_cuda()) names.push_back("bfloat16");
  names.push_back("float64");
  if ((besides & takes::int64) != 0) names.push_back("int64");
  if ((besides & takes::uint8) != 0) names.push_back("uint8");
  if ((besides & takes::boolean) != 0) names.push_back("bool");
  std::string list = names[0];
  for (size_t i = 1; i < names.size(); ++i) list += (i + 1 < names.size() ? ", " : " or ") + names[i];
  // The way out of what has no arithmetic; where there is a choice it is not made for the caller.
  const bool to_float = (besides & takes::int64) == 0 || is_floating(t);
  fail(op, "needs {}, got {} ({}convert with {}.to(atlas::float32))", list, describe(x),
       t == bfloat16 ? "bfloat16 computes on CUDA devices alone: " : "", to_float ? "" : ".to(atlas::int64) or ");
}

}  // namespace atlas::inline ATLAS_ABI
