// Shapes: up to eight axis lengths held in place, with overflow-checked products and broadcasting.
//
// Axis letters used everywhere: B batch, H W height and width, C channels, L tokens, N state size, D channels per head.
#pragma once

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
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
  explicit Shape(std::span<const int64_t> v);
  /// n entries of `value`.
  static Shape filled(int n, int64_t value);

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  /// Entry i, counted from the end where it is negative. @throws Error when there is none.
  int64_t& operator[](int i) { return dims_[place(i)]; }
  int64_t operator[](int i) const { return dims_[place(i)]; }
  int64_t back() const { return (*this)[size_ - 1]; }
  int64_t* begin() { return dims_.data(); }
  int64_t* end() { return dims_.data() + size_; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + size_; }
  operator std::span<const int64_t>() const { return {begin(), static_cast<size_t>(size_)}; }

  void push_back(int64_t v) { insert(size_, v); }
  /// Puts `v` before entry `at`. @throws Error when there are kMaxDims entries already.
  void insert(int at, int64_t v);
  void erase(int at);

  bool operator==(const Shape& o) const;

  /// Product of all lengths. @throws Error when a length is negative or the product overflows int64.
  int64_t numel() const;

  /// "[2,3,4]"
  std::string str() const;

 private:
  size_t place(int i) const {
    const int at = i < 0 ? i + size_ : i;
    if (static_cast<unsigned>(at) >= static_cast<unsigned>(size_)) no_entry(i);
    static_assert((kMaxDims & (kMaxDims - 1)) == 0);
    return static_cast<size_t>(at) & (kMaxDims - 1);  // which changes nothing: g++ 12 warns of places past the array
  }
  [[noreturn]] void no_entry(int i) const;

  std::array<int64_t, kMaxDims> dims_{};
  int size_ = 0;
};

/// The number of a single axis, where a list of axes may stand as well: sum(x, 0) beside sum(x, {0, 2}).
template <class T>
concept AxisNumber = std::is_integral_v<T> && !std::is_same_v<T, bool>;

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
Shape contiguous_strides(const Shape& shape);

/// Axis in [-n, n) -> [0, n). @throws Error naming `op` otherwise.
int normalize_axis(int64_t axis, int n, std::string_view op);

namespace detail {
/// The broadcast shape of a and b; `what_a` and `what_b`, which may have `behind` more axes, stand for them in the
/// error.
Shape broadcast(const Shape& a, const Shape& b, std::string_view op, const ErrorArg& what_a, const ErrorArg& what_b,
                int behind = 0);
}  // namespace detail

/// NumPy broadcasting: lengths are aligned from the last axis, and a length of 1 stretches.
/// @throws Error naming `op`, both shapes and the failing axis when the shapes do not fit.
Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view op);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/core/shape-inl.h"
#endif
