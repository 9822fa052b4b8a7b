// Bodies of select.h.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/kernels/select.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/elementwise-inl.h"
#include "atlas/ops/select.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE void check_mask(const char* op, const Tensor& mask, const Tensor& x) {
  check(mask.defined() && mask.dtype() == boolean, op,
        "the mask must be bool, got {} (compare to make one: ne(mask, 0))", describe(mask));
  check(mask.device() == x.device(), op, "the mask is on {}, the operand on {} (move one with .to(...))",
        mask.device().str(), x.device().str());
}

}  // namespace detail

ATLAS_INLINE Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  if (detail::mixed(a, b))
    return where(condition, to(a, detail::common_dtype(a, b)), to(b, detail::common_dtype(a, b)));
  detail::check_operands("where", a, b);
  detail::check_mask("where", condition, a);
  const Shape shape = broadcast_shapes(condition.shape(), broadcast_shapes(a, b, "where"), "where");
  Tensor y = empty(shape, a.dtype(), a.device());
  kernels::where_forward(condition, a, b, y);
  return record("where", y, {a, b},
                [c = Saved(condition, "where"), as = a.shape(), bs = b.shape(), na = a.requires_grad(),
                 nb = b.requires_grad()](const Tensor& dy) {
                  return Grads{na ? sum_to(detail::zero_where(dy, c(), false), as) : Tensor(),
                               nb ? sum_to(detail::zero_where(dy, c(), true), bs) : Tensor()};
                });
}

ATLAS_INLINE Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  detail::check_number("masked_fill", x, value);
  detail::check_mask("masked_fill", mask, x);
  check(broadcast_shapes(x, mask, "masked_fill") == x.shape(), "masked_fill", "the mask {} does not broadcast to {}",
        describe(mask), describe(x));
  Tensor y = empty_like(x);
  kernels::masked_fill(x, mask, true, value, y);
  return record("masked_fill", y, {x}, [m = Saved(mask, "masked_fill")](const Tensor& dy) {
    return Grads{detail::zero_where(dy, m(), true)};
  });
}

}  // namespace atlas::inline ATLAS_ABI
