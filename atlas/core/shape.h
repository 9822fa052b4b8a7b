// Shapes: up to eight axis lengths held in place, with overflow-checked products and broadcasting.
//
// Axis letters used everywhere: B batch, H W height and width, C channels, L tokens, N state size, D channels per head.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

/// Most axes a tensor can have.
inline constexpr int kMaxDims = 8;

/// A short list of integers: axis lengths, strides or axis numbers.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> v) : Shape(std::span<const int64_t>(v.begin(), v.size())) {}
  Shape(const std::vector<int64_t>& v) : Shape(std::span<const int64_t>(v)) {}
  explicit Shape(std::span<const int64_t> v) {
    check(v.size() <= static_cast<size_t>(kMaxDims), "shape", "a tensor has at most {} axes, got {}", kMaxDims,
          v.size());
    std::copy(v.begin(), v.end(), dims_.begin());
    size_ = static_cast<int>(v.size());
  }
  /// n entries of `value`.
  static Shape filled(int n, int64_t value) { return Shape(std::vector<int64_t>(static_cast<size_t>(n), value)); }

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t& operator[](int i) { return dims_[static_cast<size_t>(i)]; }
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i)]; }
  int64_t back() const { return (*this)[size_ - 1]; }
  int64_t* begin() { return dims_.data(); }
  int64_t* end() { return dims_.data() + size_; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + size_; }
  operator std::span<const int64_t>() const { return {begin(), static_cast<size_t>(size_)}; }

  void push_back(int64_t v) { insert(size_, v); }
  void insert(int at, int64_t v) {
    check(size_ < kMaxDims, "shape", "a tensor has at most {} axes", kMaxDims);
    std::copy_backward(begin() + at, end(), end() + 1);
    (*this)[at] = v;
    ++size_;
  }
  void erase(int at) {
    std::copy(begin() + at + 1, end(), begin() + at);
    --size_;
  }

  bool operator==(const Shape& o) const { return size_ == o.size_ && std::equal(begin(), end(), o.begin()); }

  /// Product of all lengths. @throws Error when a length is negative or the product overflows int64.
  int64_t numel() const {
    int64_t n = 1;
    bool zero = false;
    for (int64_t d : *this) {
      // Not check(): its arguments are evaluated always, and numel() is called everywhere.
      if (d < 0) fail("shape", "axis lengths must not be negative, got {}", str());
      if (d == 0) {
        zero = true;
        continue;
      }
      if (__builtin_mul_overflow(n, d, &n)) fail("shape", "the number of elements of {} overflows 64 bits", str());
    }
    return zero ? 0 : n;
  }

  /// "[2,3,4]"
  std::string str() const {
    std::string s = "[";
    for (int i = 0; i < size_; ++i) {
      if (i > 0) s += ',';
      s += std::to_string((*this)[i]);
    }
    return s + "]";
  }

 private:
  std::array<int64_t, kMaxDims> dims_{};
  int size_ = 0;
};

}  // namespace atlas::inline ATLAS_ABI

/// Formats a Shape as Shape::str() does, but only when the text is wanted: check() costs nothing when all is well.
template <>
struct fmt::formatter<atlas::Shape> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const atlas::Shape& shape, Context& context) const {
    auto out = context.out();
    for (char c : shape.str()) *out++ = c;
    return out;
  }
};

namespace atlas::inline ATLAS_ABI {

/// Row-major strides, in elements.
inline Shape contiguous_strides(const Shape& shape) {
  Shape s = shape;
  int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    s[i] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  return s;
}

/// Axis in [-n, n) -> [0, n). @throws Error naming `op` otherwise.
inline int normalize_axis(int64_t axis, int n, std::string_view op) {
  check(axis >= -n && axis < n, op, "axis {} is outside [-{}, {}) for {} axes", axis, n, n, n);
  return static_cast<int>(axis < 0 ? axis + n : axis);
}

namespace detail {
/// The broadcast shape of a and b; `what_a` and `what_b`, which may have `behind` more axes, stand for them in the
/// error.
template <class A, class B>
Shape broadcast(const Shape& a, const Shape& b, std::string_view op, const A& what_a, const B& what_b, int behind = 0) {
  const int n = std::max(a.size(), b.size());
  Shape out = Shape::filled(n, 1);
  for (int i = 1; i <= n; ++i) {
    const int64_t x = i <= a.size() ? a[a.size() - i] : 1, y = i <= b.size() ? b[b.size() - i] : 1;
    check(x == y || x == 1 || y == 1, op, "{} and {} do not broadcast: axis -{} has lengths {} and {}", what_a, what_b,
          i + behind, x, y);
    out[n - i] = x == 1 ? y : x;
  }
  return out;
}
}  // namespace detail

/// NumPy broadcasting: lengths are aligned from the last axis, and a length of 1 stretches.
/// @throws Error naming `op`, both shapes and the failing axis when the shapes do not fit.
inline Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view op) {
  return detail::broadcast(a, b, op, a, b);
}

}  // namespace atlas::inline ATLAS_ABI
