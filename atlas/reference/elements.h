// Tensors as the plain loops want them: elements in row-major order, and nothing between them.
#pragma once

#include <vector>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

/// Calls f(offset) for each element of a host tensor, in row-major order; offsets count from its first.
template <class F>
void for_each_offset(const Shape& shape, const Shape& strides, const F& f, int axis = 0, int64_t offset = 0) {
  if (axis == shape.size()) return f(offset);
  for (int64_t i = 0; i < shape[axis]; ++i) for_each_offset(shape, strides, f, axis + 1, offset + i * strides[axis]);
}

/// The elements of t, which may be strided; empty when t is undefined.
template <class T>
std::vector<T> elements(const Tensor& t) {
  std::vector<T> all;
  if (!t.defined() || t.numel() == 0) return all;
  all.reserve(static_cast<size_t>(t.numel()));
  const T* from = t.data<T>();
  for_each_offset(t.shape(), t.strides(), [&](int64_t offset) { all.push_back(from[offset]); });
  return all;
}

/// Puts elements in row-major order where t, which may be strided, has them. Nothing happens when t is undefined.
template <class T, class From>
void store(const std::vector<From>& all, Tensor& t) {
  if (!t.defined() || t.numel() == 0) return;
  T* to = t.data<T>();
  auto next = all.begin();
  for_each_offset(t.shape(), t.strides(), [&](int64_t offset) { to[offset] = static_cast<T>(*next++); });
}

/// The elements of a contiguous tensor, or null when it is undefined or empty.
template <class T>
T* pointer(const Tensor& t) {
  return t.defined() && t.numel() > 0 ? t.data<T>() : nullptr;
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
