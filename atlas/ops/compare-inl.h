// Bodies of compare.h.
#pragma once

#include <type_traits>

#include "atlas/kernels/binary.h"
#include "atlas/kernels/functors.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/elementwise-inl.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// bfloat16 beside float32 on CUDA devices.
inline bool widens(const Tensor& a, const Tensor& b) {
  const auto one_is = [&](DType dtype) { return a.dtype() == dtype || b.dtype() == dtype; };
  return a.device().is_cuda() && b.device().is_cuda() && one_is(bfloat16) && one_is(float32);
}

ATLAS_INLINE DType common_dtype(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined() || a.dtype() == b.dtype()) return a.defined() ? a.dtype() : float32;
  if (a.dtype() == boolean) return b.dtype();
  return widens(a, b) ? float32 : a.dtype();
}

ATLAS_INLINE bool mixed(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined() || a.dtype() == b.dtype()) return false;
  return a.dtype() == boolean || b.dtype() == boolean || widens(a, b);
}

ATLAS_INLINE void check_operands(const char* op, const Tensor& a, const Tensor& b) {
  check(a.defined() && b.defined(), op, "an operand is undefined: {} and {}", describe(a), describe(b));
  if (a.dtype() != b.dtype()) {
    const auto stored = [](const Tensor& x) { return is_floating(x.dtype()) && !computes_as_float(x); };
    check(!stored(a) && !stored(b), op, "dtypes differ: {} and {} ({} has no arithmetic: convert it with .to(...))",
          describe(a), describe(b), name(stored(a) ? a.dtype() : b.dtype()));
    fail(op, "dtypes differ: {} and {} (convert one with .to(...))", describe(a), describe(b));
  }
  check(a.device() == b.device(), op, "operands are on different devices: {} and {} (move one with .to(...))",
        describe(a), describe(b));
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

ATLAS_INLINE Tensor eq(const Tensor& a, const Tensor& b) { return detail::binary(functors::Equal{}, "eq", a, b); }

ATLAS_INLINE Tensor ne(const Tensor& a, const Tensor& b) { return detail::binary(functors::NotEqual{}, "ne", a, b); }

ATLAS_INLINE Tensor lt(const Tensor& a, const Tensor& b) { return detail::binary(functors::Less{}, "lt", a, b); }

ATLAS_INLINE Tensor le(const Tensor& a, const Tensor& b) { return detail::binary(functors::LessEqual{}, "le", a, b); }

ATLAS_INLINE Tensor gt(const Tensor& a, const Tensor& b) { return detail::binary(functors::Greater{}, "gt", a, b); }

ATLAS_INLINE Tensor ge(const Tensor& a, const Tensor& b) {
  return detail::binary(functors::GreaterEqual{}, "ge", a, b);
}

ATLAS_INLINE Tensor eq(const Tensor& a, double s) { return detail::compare_number(functors::Equal{}, a, s); }

ATLAS_INLINE Tensor ne(const Tensor& a, double s) { return detail::compare_number(functors::NotEqual{}, a, s); }

ATLAS_INLINE Tensor lt(const Tensor& a, double s) { return detail::compare_number(functors::Less{}, a, s); }

ATLAS_INLINE Tensor le(const Tensor& a, double s) { return detail::compare_number(functors::LessEqual{}, a, s); }

ATLAS_INLINE Tensor gt(const Tensor& a, double s) { return detail::compare_number(functors::Greater{}, a, s); }

ATLAS_INLINE Tensor ge(const Tensor& a, double s) { return detail::compare_number(functors::GreaterEqual{}, a, s); }

namespace detail {
/// `0 < x < 1` compares the result of the first comparison with 1.
ATLAS_INLINE void check_no_chain(const Tensor& a) {
  check(!a.defined() || a.dtype() != boolean, "compare",
        "comparisons make no chain: write (0 < x) & (x < 1), or lt(), le(), gt(), ge() to compare truth with a number");
}
}  // namespace detail

ATLAS_INLINE Tensor operator==(const Tensor& a, const Tensor& b) { return eq(a, b); }

ATLAS_INLINE Tensor operator==(const Tensor& a, double s) { return eq(a, s); }

ATLAS_INLINE Tensor operator==(double s, const Tensor& a) { return eq(a, s); }

ATLAS_INLINE Tensor operator!=(const Tensor& a, const Tensor& b) { return ne(a, b); }

ATLAS_INLINE Tensor operator!=(const Tensor& a, double s) { return ne(a, s); }

ATLAS_INLINE Tensor operator!=(double s, const Tensor& a) { return ne(a, s); }

ATLAS_INLINE Tensor operator<(const Tensor& a, const Tensor& b) { return lt(a, b); }

ATLAS_INLINE Tensor operator<(const Tensor& a, double s) {
  detail::check_no_chain(a);
  return lt(a, s);
}

ATLAS_INLINE Tensor operator<(double s, const Tensor& a) { return gt(a, s); }

ATLAS_INLINE Tensor operator<=(const Tensor& a, const Tensor& b) { return le(a, b); }

ATLAS_INLINE Tensor operator<=(const Tensor& a, double s) {
  detail::check_no_chain(a);
  return le(a, s);
}

ATLAS_INLINE Tensor operator<=(double s, const Tensor& a) { return ge(a, s); }

ATLAS_INLINE Tensor operator>(const Tensor& a, const Tensor& b) { return gt(a, b); }

ATLAS_INLINE Tensor operator>(const Tensor& a, double s) {
  detail::check_no_chain(a);
  return gt(a, s);
}

ATLAS_INLINE Tensor operator>(double s, const Tensor& a) { return lt(a, s); }

ATLAS_INLINE Tensor operator>=(const Tensor& a, const Tensor& b) { return ge(a, b); }

ATLAS_INLINE Tensor operator>=(const Tensor& a, double s) {
  detail::check_no_chain(a);
  return ge(a, s);
}

ATLAS_INLINE Tensor operator>=(double s, const Tensor& a) { return le(a, s); }

}  // namespace atlas::inline ATLAS_ABI
