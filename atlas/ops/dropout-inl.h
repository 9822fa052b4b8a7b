// Bodies of dropout.h.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/kernels/dropout.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/batch_share.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/join.h"
#include "atlas/ops/softmax.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// The identity in eval mode and for p = 0; otherwise `kernel` with a fresh stream of g, which is also its own
/// gradient.
template <class Kernel>
Tensor drop(const char* op, const Tensor& x, double p, bool training, Generator& g, uint64_t seed,
            const Kernel& kernel) {
  check(p >= 0 && p <= 1, op, "p is {}, needs a probability in [0, 1]", p);
  check_float(x, op);
  if (!training || p == 0) return x;
  const Tensor in = x.contiguous();
  Tensor y = empty_like(in);
  const uint64_t stream = g.next();
  kernel(in, p, seed, stream, y);
  return record(op, y, {x}, [=](const Tensor& dy) {
    // y = mask x / (1 - p), so dx = mask dy / (1 - p) with the same mask. Overwrites.
    const Tensor in_dy = dy.contiguous();
    Tensor dx = empty_like(in_dy);
    kernel(in_dy, p, seed, stream, dx);
    return Grads{dx};
  });
}

/// Whether the rows of x are those of the images that a part of a batch has, one or several of each.
inline bool has_rows_of(const BatchShare* share, const Tensor& x) {
  return share != nullptr && !share->places.empty() && x.dim() >= 1 && x.size(0) % std::ssize(share->places) == 0;
}

/// What drop_path() multiplies the rows of a part of a batch with: 0 or 1 / (1 - p), of shape [rows, 1, ...], as they
/// are for the whole batch. An image may have several rows, one after the other.
inline Tensor drop_path_mask(const Tensor& x, double p, const BatchShare& share, Generator& g) {
  const NoGrad off;
  const int64_t images = std::ssize(share.places), each = x.size(0) / images;
  const Tensor all = ones({share.of * each, 1}, x.dtype(), x.device());
  Tensor mask = empty_like(all);
  kernels::drop_path(all, p, g.seed, g.next(), mask);
  // Places are a few runs: slices of the mask need no list of rows on the device, which a CUDA graph could not be sent.
  std::vector<Tensor> runs;
  for (const PlaceRun& run : runs_of(share))
    runs.push_back(mask.slice(0, run.place * each, (run.place + run.images) * each));
  Shape shape = x.shape();
  for (int axis = 1; axis < x.dim(); ++axis) shape[axis] = 1;
  return cat(runs, 0).reshape(shape);
}

}  // namespace detail

ATLAS_INLINE Tensor dropout(const Tensor& x, double p, bool training, Generator& g) {
  const BatchShare* const share = detail::batch_share();
  if (!detail::has_rows_of(share, x))
    return detail::drop("dropout", x, p, training, g, detail::seed_of_process(g),
                        [](const Tensor& in, double q, uint64_t seed, uint64_t stream, Tensor& out) {
                          kernels::dropout(in, q, seed, stream, 0, out);
                        });
  const int64_t each = x.numel() / std::ssize(share->places);
  return detail::drop(
      "dropout", x, p, training, g, g.seed,
      [each, runs = detail::runs_of(*share)](const Tensor& in, double q, uint64_t seed, uint64_t stream, Tensor& out) {
        const auto part = [&](const Tensor& t, const detail::PlaceRun& run) {
          return raw_view(t, {run.images * each}, {1}, t.offset() + run.here * each);
        };
        for (const detail::PlaceRun& run : runs) {
          Tensor into = part(out, run);
          kernels::dropout(part(in, run), q, seed, stream, run.place * each, into);
        }
      });
}

ATLAS_INLINE Tensor drop_path(const Tensor& x, double p, bool training, Generator& g) {
  check(x.dim() >= 1, "drop_path", "x needs at least one axis (the samples), got {}", describe(x));
  const BatchShare* const share = detail::batch_share();
  if (training && p > 0 && p <= 1 && detail::has_rows_of(share, x) && is_floating(x.dtype()))
    return x * detail::drop_path_mask(x, p, *share, g);
  return detail::drop("drop_path", x, p, training, g, detail::seed_of_process(g),
                      [](const Tensor& in, double q, uint64_t seed, uint64_t stream, Tensor& out) {
                        kernels::drop_path(in, q, seed, stream, out);
                      });
}

ATLAS_INLINE Tensor dropout_reference(const Tensor& x, const Tensor& mask, double p) {
  return x * mask * (1 / (1 - p));
}

}  // namespace atlas::inline ATLAS_ABI
