// Bodies of dropout.h.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/kernels/dropout.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/softmax.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// The identity in eval mode and for p = 0; otherwise `kernel` with a fresh stream of g, which is also its own
/// gradient.
template <class Kernel>
Tensor drop(const char* op, const Tensor& x, double p, bool training, Generator& g, const Kernel& kernel) {
  check(p >= 0 && p <= 1, op, "p is {}, needs a probability in [0, 1]", p);
  check_float(x, op);
  if (!training || p == 0) return x;
  const Tensor in = x.contiguous();
  Tensor y = empty_like(in);
  const uint64_t seed = g.seed, stream = g.next();
  kernel(in, p, seed, stream, y);
  return record(op, y, {x}, [=](const Tensor& dy) {
    // y = mask x / (1 - p), so dx = mask dy / (1 - p) with the same mask. Overwrites.
    const Tensor in_dy = dy.contiguous();
    Tensor dx = empty_like(in_dy);
    kernel(in_dy, p, seed, stream, dx);
    return Grads{dx};
  });
}

}  // namespace detail

ATLAS_INLINE Tensor dropout(const Tensor& x, double p, bool training, Generator& g) {
  return detail::drop("dropout", x, p, training, g,
                      [](const Tensor& in, double q, uint64_t seed, uint64_t stream, Tensor& out) {
                        kernels::dropout(in, q, seed, stream, out);
                      });
}

ATLAS_INLINE Tensor drop_path(const Tensor& x, double p, bool training, Generator& g) {
  check(x.dim() >= 1, "drop_path", "x needs at least one axis (the samples), got {}", describe(x));
  return detail::drop("drop_path", x, p, training, g,
                      [](const Tensor& in, double q, uint64_t seed, uint64_t stream, Tensor& out) {
                        kernels::drop_path(in, q, seed, stream, out);
                      });
}

ATLAS_INLINE Tensor dropout_reference(const Tensor& x, const Tensor& mask, double p) {
  return x * mask * (1 / (1 - p));
}

}  // namespace atlas::inline ATLAS_ABI
