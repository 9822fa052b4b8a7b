// Bodies of softmax.h.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/kernels/softmax.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/softmax.h"
#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE Tensor softmax_along(const char* op, const Tensor& x, int64_t axis, bool logarithm) {
  const AxisView view(x.shape(), normalize_axis(axis, x, op));
  check_float(x, op);
  const Tensor in = x.contiguous();
  Tensor y = empty_like(in);
  kernels::softmax_forward(in, view, logarithm, y);
  return record(op, y, {x}, [y = Saved(y, op), view, logarithm](const Tensor& dy) {
    // softmax: dx = y (dy - sum dy y); log_softmax: dx = dy - exp(y) sum dy. Overwrites.
    Tensor dx = empty_like(y());
    kernels::softmax_backward(y(), dy.contiguous(), view, logarithm, dx);
    return Grads{dx};
  });
}

}  // namespace detail

ATLAS_INLINE Tensor softmax(const Tensor& x, int axis) { return detail::softmax_along("softmax", x, axis, false); }

ATLAS_INLINE Tensor log_softmax(const Tensor& x, int axis) {
  return detail::softmax_along("log_softmax", x, axis, true);
}

ATLAS_INLINE Tensor softmax_reference(const Tensor& x, int axis) {
  const Tensor e = exp(x - max(x, {axis}, true).detach());
  return e / sum(e, {axis}, true);
}

ATLAS_INLINE Tensor log_softmax_reference(const Tensor& x, int axis) {
  const Tensor shifted = x - max(x, {axis}, true).detach();
  return shifted - log(sum(exp(shifted), {axis}, true));
}

}  // namespace atlas::inline ATLAS_ABI
