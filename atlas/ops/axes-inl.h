// Bodies of axes.h.
#pragma once

#include <array>

#include "atlas/kernels/reduce.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/reduce_axes-inl.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::detail {

ATLAS_INLINE AxisMask axis_mask(const Shape& axes, const Tensor& x, const char* op) {
  AxisMask mask{};
  for (int i = 0; i < x.dim() && axes.empty(); ++i) mask[static_cast<size_t>(i)] = true;
  for (int64_t a : axes) {
    bool& reduced = mask[static_cast<size_t>(normalize_axis(a, x, op))];
    check(!reduced, op, "axis {} is given twice in {}", a, axes);
    reduced = true;
  }
  return mask;
}

ATLAS_INLINE Shape reduced_shape(const Shape& shape, const AxisMask& mask, bool keepdim) {
  Shape out;
  for (int i = 0; i < shape.size(); ++i) {
    if (!mask[static_cast<size_t>(i)])
      out.push_back(shape[i]);
    else if (keepdim)
      out.push_back(1);
  }
  return out;
}

ATLAS_INLINE Tensor as_bytes(const Tensor& t) {
  if (!t.defined() || t.dtype() != boolean) return t;
  Tensor bytes = raw_view(t, t.shape(), t.strides(), t.offset());
  bytes.impl().dtype = uint8;
  return bytes;
}

ATLAS_INLINE int64_t reduced_count(const Shape& shape, const AxisMask& mask) {
  int64_t n = 1;
  for (int i = 0; i < shape.size(); ++i) n *= mask[static_cast<size_t>(i)] ? shape[i] : 1;
  return n;
}

ATLAS_INLINE Tensor view_as(const Tensor& t, const Shape& shape) {
  return raw_view(t, shape, contiguous_strides(shape), t.offset());
}

ATLAS_INLINE Tensor expand_reduced(const Tensor& t, const Shape& shape, const AxisMask& mask) {
  Shape strides = Shape::filled(shape.size(), 0);
  const bool keepdim = t.dim() == shape.size();
  for (int i = 0, k = 0; i < shape.size(); ++i) {
    if (!mask[static_cast<size_t>(i)]) strides[i] = t.strides()[keepdim ? i : k++];
  }
  return raw_view(t, shape, strides, t.offset());
}

ATLAS_INLINE Tensor raw_contiguous(const Tensor& t) { return t.is_contiguous() ? t : copy_of(t); }

ATLAS_INLINE Tensor raw_sum(const Tensor& x, const AxisMask& mask, const Shape& shape, double scale) {
  check_dtype(x, "sum", takes::integers | takes::boolean);
  const DType dtype = x.dtype() == uint8 || x.dtype() == boolean ? int64 : x.dtype();
  if (x.numel() == 0) {
    Tensor y = empty(shape, dtype, x.device());
    fill_elements(y, 0 * scale);
    return y;
  }
  return reduce_groups(x, mask, shape, dtype, [&](const Tensor& t, int64_t n, int64_t inner, Tensor& y, bool last) {
    kernels::sum_forward(t, n, inner, last ? scale : 1.0, y);
  });
}

ATLAS_INLINE Tensor raw_sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  AxisMask mask{};
  const int extra = x.dim() - shape.size();
  for (int i = 0; i < x.dim(); ++i)
    mask[static_cast<size_t>(i)] = i < extra || (shape[i - extra] == 1 && x.shape()[i] != 1);
  return raw_sum(x, mask, shape);
}

}  // namespace atlas::inline ATLAS_ABI::detail
