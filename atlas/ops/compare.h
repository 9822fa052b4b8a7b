// Comparisons with broadcasting, as functions and operators; results are boolean tensors and carry no gradient.
// Logic on them: ops/logic.h.
#pragma once

#include <type_traits>

#include "atlas/kernels/binary.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/cast.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// The dtype that a and b are brought to: bfloat16 and float32 meet in float32 on CUDA devices, and bool takes the type
/// of the other one, where it counts as 0 and 1. That of a where nothing has to be done.
inline DType common_dtype(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined() || a.dtype() == b.dtype()) return a.defined() ? a.dtype() : float32;
  if (a.dtype() == boolean) return b.dtype();
  if (b.dtype() == boolean) return a.dtype();
  const bool widens = a.device().is_cuda() && b.device().is_cuda() && (a.dtype() == bfloat16 || b.dtype() == bfloat16);
  return widens && (a.dtype() == float32 || b.dtype() == float32) ? float32 : a.dtype();
}
/// Whether a and b have to be brought to one dtype first, and can be.
inline bool mixed(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined() || a.dtype() == b.dtype()) return false;
  const DType common = common_dtype(a, b);
  return common != a.dtype() || b.dtype() == boolean;
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
  const double lo = a.dtype() == int64 ? -0x1p53 : 0.0,
               hi = a.dtype() == int64 ? 0x1p53 : (a.dtype() == boolean ? 1.0 : 255.0);
  check(s >= lo && s <= hi && s == static_cast<double>(static_cast<int64_t>(s)), op,
        "{} takes whole numbers of its range, got {} (convert the tensor with .to(atlas::float32))", describe(a), s);
}

/// Whether F is also defined for boolean tensors, as 0 and 1: it compares, or gives 0 or 1 again.
template <class F>
inline constexpr bool kTakesBool = F::kCompares || std::is_same_v<F, functors::Mul> ||
                                   std::is_same_v<F, functors::Maximum> || std::is_same_v<F, functors::Minimum>;

/// y = f(a, b) with broadcasting, outside the graph.
template <class F>
Tensor binary(F f, const char* op, const Tensor& a, const Tensor& b) {
  if (mixed(a, b)) return binary(f, op, copy_as(a, common_dtype(a, b)), copy_as(b, common_dtype(a, b)));
  check_operands(op, a, b);
  check_dtype(a, op, (F::kIntegers ? takes::integers : 0) | (kTakesBool<F> ? takes::boolean : 0));
  Tensor y = empty(broadcast_shapes(a, b, op), F::kCompares ? boolean : a.dtype(), a.device());
  if (kTakesBool<F> && a.dtype() == boolean) {
    Tensor bytes = F::kCompares ? y : as_bytes(y);
    kernels::binary_forward(f, as_bytes(a), as_bytes(b), bytes);
  } else {
    kernels::binary_forward(f, a, b, y);
  }
  return y;
}

template <class F>
Tensor compare_number(F f, const Tensor& a, double s) {
  check_number(F::kName, a, s);
  check_dtype(a, F::kName, takes::integers | takes::boolean);
  Tensor y = empty(a.shape(), boolean, a.device());
  kernels::binary_scalar(f, as_bytes(a), s, false, y);
  return y;
}

}  // namespace detail

/// a == b, element by element.
/// @param a,b  float32, float64, int64, uint8 or bool, of one dtype (bool also takes that of the other); shapes that
/// broadcast
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

// ---- operators: the same, element by element. 2 < x is x > 2. -------------------------------------------------------

inline Tensor operator==(const Tensor& a, const Tensor& b) { return eq(a, b); }
inline Tensor operator==(const Tensor& a, double s) { return eq(a, s); }
inline Tensor operator==(double s, const Tensor& a) { return eq(a, s); }
inline Tensor operator!=(const Tensor& a, const Tensor& b) { return ne(a, b); }
inline Tensor operator!=(const Tensor& a, double s) { return ne(a, s); }
inline Tensor operator!=(double s, const Tensor& a) { return ne(a, s); }
inline Tensor operator<(const Tensor& a, const Tensor& b) { return lt(a, b); }
inline Tensor operator<(const Tensor& a, double s) { return lt(a, s); }
inline Tensor operator<(double s, const Tensor& a) { return gt(a, s); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return le(a, b); }
inline Tensor operator<=(const Tensor& a, double s) { return le(a, s); }
inline Tensor operator<=(double s, const Tensor& a) { return ge(a, s); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return gt(a, b); }
inline Tensor operator>(const Tensor& a, double s) { return gt(a, s); }
inline Tensor operator>(double s, const Tensor& a) { return lt(a, s); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return ge(a, b); }
inline Tensor operator>=(const Tensor& a, double s) { return ge(a, s); }
inline Tensor operator>=(double s, const Tensor& a) { return le(a, s); }

}  // namespace atlas::inline ATLAS_ABI
