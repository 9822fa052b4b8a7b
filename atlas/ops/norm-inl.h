// Bodies of norm.h.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/kernels/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// `t`, or a constant vector when it is absent. Checks that it fits the last axis of x.
inline Tensor channel_vector(const Tensor& t, const Tensor& x, const char* op, const char* what, double absent,
                             DType absent_dtype) {
  const int64_t channels = x.shape().back();
  if (!t.defined()) return empty({channels}, absent_dtype, x.device()).fill_(absent);
  check(t.dim() == 1 && t.shape()[0] == channels && (t.dtype() == x.dtype() || t.dtype() == statistics_dtype(x)) &&
            t.device() == x.device(),
        op, "{} {} does not fit x {}: needs {}[{}], the last axis of x", what, describe(t), describe(x),
        name(x.dtype()), channels);
  return t.contiguous();
}

/// Weight and bias of one type: x's, or float32 beside a bfloat16 x.
struct Affine {
  Tensor weight, bias;
  Affine(const Tensor& w, const Tensor& b, const Tensor& x, const char* op) {
    const DType dtype = w.defined() ? w.dtype() : b.defined() ? b.dtype() : statistics_dtype(x);
    weight = channel_vector(w, x, op, "weight", 1, dtype);
    bias = detail::copy_as(channel_vector(b, x, op, "bias", 0, dtype), dtype);
  }
  /// The gradients as the parameters want them; none for those that are absent.
  static Grads grads(Tensor dx, const Tensor& dw, const Tensor& db, std::array<DType, 2> dtype,
                     std::array<bool, 2> given) {
    return {std::move(dx), given[0] ? detail::copy_as(dw, dtype[0]) : Tensor(),
            given[1] ? detail::copy_as(db, dtype[1]) : Tensor()};
  }
};

ATLAS_INLINE void check_input(const Tensor& x, const char* op) {
  check(x.dim() >= 1, op, "x needs at least one axis (channels last), got {}", describe(x));
  check_float(x, op);
}

}  // namespace detail

ATLAS_INLINE Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  detail::check_input(x, "layer_norm");
  const auto [w, b] = detail::Affine(weight, bias, x, "layer_norm");
  const Tensor rows = x.contiguous();
  const int64_t channels = x.shape().back(), count = channels == 0 ? 0 : x.numel() / channels;
  Tensor y = empty_like(rows), mean = empty({count}, statistics_dtype(x), x.device()), rstd = empty_like(mean);
  kernels::layer_norm_forward(rows, w, b, eps, y, mean, rstd);
  if (!needs_record({x, weight, bias})) return y;
  const Saved sx(rows, "layer_norm"), sw(w, "layer_norm"), sb(b, "layer_norm");
  y = record("layer_norm", y, {x, weight, bias},
             [sx, sw, mean = Saved(mean, "layer_norm"), rstd = Saved(rstd, "layer_norm"),
              affine = std::array{weight.defined(), bias.defined()},
              dtype = std::array{w.dtype(), bias.defined() ? bias.dtype() : w.dtype()}](const Tensor& dy) {
               // dx = rstd (g - <g> - xhat <g xhat>) with g = dy weight; dweight = sum dy xhat, dbias = sum dy.
               // Overwrites, or adds to the gradient that x has from the residual around this norm.
               Tensor dx = dy.device().is_cuda() ? Tensor() : detail::take_gradient(0);
               const bool add = dx.defined();
               if (!add) dx = empty_like(sx());
               Tensor dw = empty_like(sw()), db = empty_like(sw());
               kernels::layer_norm_backward(sx(), sw(), mean(), rstd(), dy.contiguous(), dx, dw, db, add);
               return detail::Affine::grads(dx, dw, db, dtype, affine);
             });
  return recomputable(y, sx, [sx, sw, sb, eps, count] {
    Tensor again = empty_like(sx()), m = empty({count}, statistics_dtype(again), again.device()), r = empty_like(m);
    kernels::layer_norm_forward(sx(), sw(), sb(), eps, again, m, r);
    return again;
  });
}

ATLAS_INLINE Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                               const Tensor& running_var, bool training, double momentum, double eps,
                               Activation activation) {
  detail::check_input(x, "batch_norm");
  const auto [w, b] = detail::Affine(weight, bias, x, "batch_norm");
  check(running_mean.defined() == running_var.defined(), "batch_norm",
        "give both running statistics or none: mean {}, var {}", describe(running_mean), describe(running_var));
  const bool has_running = running_mean.defined();
  const DType statistics = statistics_dtype(x);
  Tensor mean = detail::channel_vector(running_mean, x, "batch_norm", "running_mean", 0, statistics);
  Tensor var = detail::channel_vector(running_var, x, "batch_norm", "running_var", 1, statistics);
  const Tensor rows = x.contiguous();
  const int64_t channels = x.shape().back(), count = channels == 0 ? 0 : x.numel() / channels;

  const bool batch_statistics = (training || !has_running) && count > 0;
  if (batch_statistics) {
    check(count > 1, "batch_norm",
          "expected more than 1 value per channel when training, got {} (use a larger batch or image, or eval())",
          describe(x));
    mean = empty({2, channels}, statistics, x.device());  // and what its type loses of it
    var = empty({channels}, statistics, x.device());
    kernels::batch_norm_statistics(rows, mean, var);
    if (training && has_running && !is_recomputing()) {
      const NoGrad off;
      const double n = static_cast<double>(count);
      Tensor(running_mean)
          .mul_(1 - momentum)
          .add_(detail::copy_as(raw_view(mean, {channels}, {1}, 0), running_mean.dtype()), momentum);
      Tensor(running_var).mul_(1 - momentum).add_(detail::copy_as(var, running_var.dtype()), momentum * n / (n - 1));
    }
  } else {
    var = detail::copy_as(var, statistics);
    mean = copy_of(detail::copy_as(mean, statistics));  // a later update of running_mean must not reach this graph
  }
  Tensor rstd, y = empty_like(rows);
  {
    const NoGrad off;
    rstd = rsqrt(add(var, eps));
  }
  kernels::batch_norm_forward(rows, mean, rstd, w, b, activation, y);
  if (!needs_record({x, weight, bias})) return y;
  const Saved sx(rows, "batch_norm"), sm(mean, "batch_norm"), sr(rstd, "batch_norm"), sw(w, "batch_norm"),
      sb(b, "batch_norm");
  y = record("batch_norm", y, {x, weight, bias},
             [sx, sm, sr, sw, sb, affine = std::array{weight.defined(), bias.defined()},
              dtype = std::array{w.dtype(), bias.defined() ? bias.dtype() : w.dtype()}, batch_statistics,
              activation](const Tensor& dy) {
               // dx = weight rstd (dz - <dz> - xhat <dz xhat>), without the means when the statistics are constants;
               // dweight = sum dz xhat, dbias = sum dz, with dz = dy behind the activation. Overwrites.
               Tensor dx = empty_like(sx()), dw = empty_like(sw()), db = empty_like(sw());
               kernels::batch_norm_backward(sx(), sm(), sr(), sw(), sb(), activation, dy.contiguous(), batch_statistics,
                                            dx, dw, db);
               return detail::Affine::grads(dx, dw, db, dtype, affine);
             });
  return recomputable(y, sx, [sx, sm, sr, sw, sb, activation] {
    Tensor again = empty_like(sx());
    kernels::batch_norm_forward(sx(), sm(), sr(), sw(), sb(), activation, again);
    return again;
  });
}

ATLAS_INLINE void count_batch(Tensor counter) {
  if (is_recomputing()) return;
  counter.add_(
      empty({}, counter.dtype(), counter.device()).fill_(1));  // not read: a device would have to be waited for
}

ATLAS_INLINE Tensor layer_norm_reference(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  const Tensor centered = x - mean(x, {-1}, true);
  Tensor y = centered * rsqrt(mean(square(centered), {-1}, true) + eps);
  if (weight.defined()) y = y * weight;
  return bias.defined() ? y + bias : y;
}

ATLAS_INLINE Tensor batch_norm_reference(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  Shape axes;
  for (int i = 0; i + 1 < x.dim(); ++i) axes.push_back(i);
  const Tensor centered = x - mean(x, axes, true);
  Tensor y = centered * rsqrt(mean(square(centered), axes, true) + eps);
  if (weight.defined()) y = y * weight;
  return bias.defined() ? y + bias : y;
}

}  // namespace atlas::inline ATLAS_ABI
