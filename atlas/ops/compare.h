// Comparisons with broadcasting; results are boolean tensors and carry no gradient.
#pragma once

#include "atlas/kernels/binary.h"
#include "atlas/ops/cast.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// Whether one of a and b is bfloat16 and the other float32, on a CUDA device: both then work as float32.
inline bool widens(const Tensor& a, const Tensor& b) {
  return a && b && a.dtype() != b.dtype() && a.device().is_cuda() && b.device().is_cuda() &&
         (a.dtype() == bfloat16 || b.dtype() == bfloat16) && (a.dtype() == float32 || b.dtype() == float32);
}

/// @throws Error naming `op` when a and b are not both defined, of one dtype and on one device.
inline void check_operands(const char* op, const Tensor& a, const Tensor& b) {
  check(a.defined() && b.defined(), op, "an operand is undefined: {} and {}", describe(a), describe(b));
  check(a.dtype() == b.dtype(), op, "dtypes differ: {} and {} (convert one with .to(...))", describe(a), describe(b));
  check(a.device() == b.device(), op, "operands are on different devices: {} and {} (move one with .to(...))",
        describe(a), describe(b));
}

/// @throws Error naming `op` when the integer tensor `a` cannot hold the number s.
inline void check_number(const char* op, const Tensor& a, double s) {
  check(a.defined(), op, "the operand is undefined");
  if (is_floating(a.dtype())) return;
  const double lo = a.dtype() == int64 ? -0x1p53 : 0.0, hi = a.dtype() == int64 ? 0x1p53 : 255.0;
  check(s >= lo && s <= hi && s == static_cast<double>(static_cast<int64_t>(s)), op,
        "{} takes whole numbers of its range, got {} (convert the tensor with .to(atlas::float32))", describe(a), s);
}

/// y = f(a, b) with broadcasting, outside the graph.
template <class F>
Tensor binary(F f, const char* op, const Tensor& a, const Tensor& b) {
  if (widens(a, b)) return binary(f, op, copy_as(a, float32), copy_as(b, float32));
  check_operands(op, a, b);
  Tensor y = empty(broadcast_shapes(a, b, op), F::kCompares ? boolean : a.dtype(), a.device());
  kernels::binary_forward(f, a, b, y);
  return y;
}

template <class F>
Tensor compare_number(F f, const Tensor& a, double s) {
  check_number(F::kName, a, s);
  Tensor y = empty(a.shape(), boolean, a.device());
  kernels::binary_scalar(f, a, s, false, y);
  return y;
}

}  // namespace detail

/// a == b, element by element.
/// @param a,b  float32, float64, int64 or uint8, of one dtype; shapes that broadcast
/// @return a boolean tensor of the broadcast shape
/// @throws Error when dtypes or devices differ or shapes do not broadcast; so do all comparisons
inline Tensor eq(const Tensor& a, const Tensor& b) { return detail::binary(functors::Equal{}, "eq", a, b); }
/// a != b.
inline Tensor ne(const Tensor& a, const Tensor& b) { return detail::binary(functors::NotEqual{}, "ne", a, b); }
/// a < b.
inline Tensor lt(const Tensor& a, const Tensor& b) { return detail::binary(functors::Less{}, "lt", a, b); }
/// a <= b.
inline Tensor le(const Tensor& a, const Tensor& b) { return detail::binary(functors::LessEqual{}, "le", a, b); }
/// a > b.
inline Tensor gt(const Tensor& a, const Tensor& b) { return detail::binary(functors::Greater{}, "gt", a, b); }
/// a >= b.
inline Tensor ge(const Tensor& a, const Tensor& b) { return detail::binary(functors::GreaterEqual{}, "ge", a, b); }

/// a == s for a number, which takes a's dtype.
/// @throws Error for an integer tensor and a number that its dtype cannot hold; so do all comparisons with numbers
inline Tensor eq(const Tensor& a, double s) { return detail::compare_number(functors::Equal{}, a, s); }
/// a != s.
inline Tensor ne(const Tensor& a, double s) { return detail::compare_number(functors::NotEqual{}, a, s); }
/// a < s.
inline Tensor lt(const Tensor& a, double s) { return detail::compare_number(functors::Less{}, a, s); }
/// a <= s.
inline Tensor le(const Tensor& a, double s) { return detail::compare_number(functors::LessEqual{}, a, s); }
/// a > s.
inline Tensor gt(const Tensor& a, double s) { return detail::compare_number(functors::Greater{}, a, s); }
/// a >= s.
inline Tensor ge(const Tensor& a, double s) { return detail::compare_number(functors::GreaterEqual{}, a, s); }

}  // namespace atlas::inline ATLAS_ABI
