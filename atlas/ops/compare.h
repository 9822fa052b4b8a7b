// Comparisons with broadcasting, as functions and operators; results are boolean tensors and carry no gradient.
// Logic on them: ops/logic.h.
#pragma once

#include "atlas/ops/cast.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// The dtype that a and b are brought to: bfloat16 and float32 meet in float32 on CUDA devices, and bool takes the type
/// of the other one, where it counts as 0 and 1. That of a where nothing has to be done.
DType common_dtype(const Tensor& a, const Tensor& b);
/// Whether a and b have to be brought to one dtype first, and can be.
bool mixed(const Tensor& a, const Tensor& b);

/// @throws Error naming `op` when a and b are not both defined, of one dtype and on one device.
void check_operands(const char* op, const Tensor& a, const Tensor& b);

}  // namespace detail

/// a == b, element by element.
/// @param a,b  float32, float64, int64, uint8 or bool, of one dtype (bool also takes that of the other); shapes that
/// broadcast
/// @return a boolean tensor of the broadcast shape
/// @throws Error when dtypes or devices differ or shapes do not broadcast; so do all comparisons
Tensor eq(const Tensor& a, const Tensor& b);
/// a != b.
Tensor ne(const Tensor& a, const Tensor& b);
/// a < b.
Tensor lt(const Tensor& a, const Tensor& b);
/// a <= b.
Tensor le(const Tensor& a, const Tensor& b);
/// a > b.
Tensor gt(const Tensor& a, const Tensor& b);
/// a >= b.
Tensor ge(const Tensor& a, const Tensor& b);

/// a == s for a number, which takes a's dtype.
/// @throws Error for an integer tensor and a number that its dtype cannot hold; so do all comparisons with numbers
Tensor eq(const Tensor& a, double s);
/// a != s.
Tensor ne(const Tensor& a, double s);
/// a < s.
Tensor lt(const Tensor& a, double s);
/// a <= s.
Tensor le(const Tensor& a, double s);
/// a > s.
Tensor gt(const Tensor& a, double s);
/// a >= s.
Tensor ge(const Tensor& a, double s);

// ---- operators: the same, element by element. 2 < x is x > 2. -------------------------------------------------------

Tensor operator==(const Tensor& a, const Tensor& b);
Tensor operator==(const Tensor& a, double s);
Tensor operator==(double s, const Tensor& a);
Tensor operator!=(const Tensor& a, const Tensor& b);
Tensor operator!=(const Tensor& a, double s);
Tensor operator!=(double s, const Tensor& a);
Tensor operator<(const Tensor& a, const Tensor& b);
Tensor operator<(const Tensor& a, double s);
Tensor operator<(double s, const Tensor& a);
Tensor operator<=(const Tensor& a, const Tensor& b);
Tensor operator<=(const Tensor& a, double s);
Tensor operator<=(double s, const Tensor& a);
Tensor operator>(const Tensor& a, const Tensor& b);
Tensor operator>(const Tensor& a, double s);
Tensor operator>(double s, const Tensor& a);
Tensor operator>=(const Tensor& a, const Tensor& b);
Tensor operator>=(const Tensor& a, double s);
Tensor operator>=(double s, const Tensor& a);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/compare-inl.h"
#endif
