// What shapes compute.
#pragma once

#include <algorithm>

#include "atlas/core/shape.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Shape::Shape(std::span<const int64_t> v) {
  check(v.size() <= static_cast<size_t>(kMaxDims), "shape", "a tensor has at most {} axes, got {}", kMaxDims, v.size());
  std::copy(v.begin(), v.end(), dims_.begin());
  size_ = static_cast<int>(v.size());
}

ATLAS_INLINE Shape Shape::filled(int n, int64_t value) {
  check(n >= 0 && n <= kMaxDims, "shape", "a tensor has at most {} axes, got {}", kMaxDims, n);
  Shape s;
  std::fill_n(s.begin(), n, value);
  s.size_ = n;
  return s;
}

ATLAS_INLINE void Shape::no_entry(int i) const { fail("shape", "{} has no entry number {}", *this, i); }

ATLAS_INLINE void Shape::insert(int at, int64_t v) {
  check(size_ < kMaxDims, "shape", "a tensor has at most {} axes", kMaxDims);
  std::copy_backward(begin() + at, end(), end() + 1);
  dims_[static_cast<size_t>(at)] = v;
  ++size_;
}

ATLAS_INLINE void Shape::erase(int at) {
  std::copy(begin() + at + 1, end(), begin() + at);
  --size_;
}

ATLAS_INLINE bool Shape::operator==(const Shape& o) const {
  return size_ == o.size_ && std::equal(begin(), end(), o.begin());
}

ATLAS_INLINE int64_t Shape::numel() const {
  int64_t n = 1;
  bool zero = false;
  for (int64_t d : *this) {
    check(d >= 0, "shape", "axis lengths must not be negative, got {}", *this);
    if (d == 0) {
      zero = true;
      continue;
    }
    check(!__builtin_mul_overflow(n, d, &n), "shape", "the number of elements of {} overflows 64 bits", *this);
  }
  return zero ? 0 : n;
}

ATLAS_INLINE std::string Shape::str() const {
  std::string s = "[";
  for (int i = 0; i < size_; ++i) {
    if (i > 0) s += ',';
    s += std::to_string((*this)[i]);
  }
  return s + "]";
}

ATLAS_INLINE Shape contiguous_strides(const Shape& shape) {
  Shape s = shape;
  int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    s[i] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  return s;
}

ATLAS_INLINE int normalize_axis(int64_t axis, int n, std::string_view op) {
  check(axis >= -n && axis < n, op, "axis {} is outside [-{}, {}) for {} axes", axis, n, n, n);
  return static_cast<int>(axis < 0 ? axis + n : axis);
}

ATLAS_INLINE Shape detail::broadcast(const Shape& a, const Shape& b, std::string_view op, const ErrorArg& what_a,
                                     const ErrorArg& what_b, int behind) {
  const int n = std::max(a.size(), b.size());
  Shape out = Shape::filled(n, 1);
  for (int i = 1; i <= n; ++i) {
    const int64_t x = i <= a.size() ? a[a.size() - i] : 1, y = i <= b.size() ? b[b.size() - i] : 1;
    if (x != y && x != 1 && y != 1) {
      const ErrorArg args[] = {what_a, what_b, i + behind, x, y};
      fail_with(op, "{} and {} do not broadcast: axis -{} has lengths {} and {}", args, 5);
    }
    out[n - i] = x == 1 ? y : x;
  }
  return out;
}

ATLAS_INLINE Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view op) {
  return detail::broadcast(a, b, op, a, b);
}

}  // namespace atlas::inline ATLAS_ABI
