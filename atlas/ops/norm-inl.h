// Bodies of norm.h.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/kernels/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/norm_group.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
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

ATLAS_INLINE std::shared_ptr<const SumOverGroup>& batch_norm_group() {
  thread_local std::shared_ptr<const SumOverGroup> group;
  return group;
}

ATLAS_INLINE std::shared_ptr<const SumOverGroup>& offered_norm_group() {
  thread_local std::shared_ptr<const SumOverGroup> group;
  return group;
}

/// Row `i` of [rows, C], in float64.
inline Tensor row_of(const Tensor& t, int64_t i) {
  const int64_t channels = t.shape().back();
  return raw_view(t, {channels}, {1}, t.offset() + i * channels).to(float64);
}

/// Makes mean [2,C] and var [C] of `count` rows those of the rows of the whole group.
/// @return how many rows those are
inline double join_statistics(Tensor& mean, Tensor& var, double count, const SumOverGroup& sum) {
  const NoGrad off;
  const int64_t channels = var.numel();
  const Tensor own = row_of(mean, 0) + row_of(mean, 1);
  // Of the values, and the rows, which the host has to know: it does not wait for a device.
  Tensor sums = empty({channels + 1}, float64, var.device());
  sums.slice(0, 0, channels).copy_(own * count);
  sums.slice(0, channels, channels + 1).fill_(count);
  sum(sums);
  Tensor rows = sums.slice(0, channels, channels + 1);
  if (rows.device().is_cuda()) {
    rows = full({1}, count, float64, Device{});
    sum(rows);
  }
  const double all = rows.item();
  const Tensor joined = sums.slice(0, 0, channels) * (1 / all);
  Tensor squares = (var.to(float64) + square(own - joined)) * count;  // around the mean of all
  sum(squares);
  var = copy_as(squares * (1 / all), var.dtype());
  raw_view(mean, {channels}, {1}, mean.offset()).copy_(joined);
  raw_view(mean, {channels}, {1}, mean.offset() + channels).copy_(joined - row_of(mean, 0));
  return all;
}

/// dx was weight rstd dz: takes what the statistics of the group's `count` rows add to it.
///     dx -= weight rstd (<dz> + xhat <dz xhat>)      with dbias = sum dz, dweight = sum dz xhat of this process
inline void join_gradients(Tensor& dx, const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                           const Tensor& dweight, const Tensor& dbias, double count, const SumOverGroup& sum) {
  const NoGrad off;
  const int64_t channels = rstd.numel();
  Tensor sums = empty({2, channels}, float64, x.device());
  sums.select(0, 0).copy_(dbias);
  sums.select(0, 1).copy_(dweight);
  sum(sums);
  const Tensor scale = weight.to(float64) * rstd.to(float64) * (1 / count);
  const Tensor constant = (scale * sums.select(0, 0)).to(x.dtype());
  const Tensor slope = (scale * sums.select(0, 1) * rstd.to(float64)).to(x.dtype());  // of x - mean
  const Tensor centered = x - row_of(mean, 0).to(x.dtype()) - row_of(mean, 1).to(x.dtype());
  dx = dx - centered * slope - constant;
}

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
  const auto group = training ? detail::batch_norm_group() : nullptr;
  double n = static_cast<double>(count);  // rows of the statistics
  if (batch_statistics) {
    check(count > 1 || group != nullptr, "batch_norm",
          "expected more than 1 value per channel when training, got {} (use a larger batch or image, or eval())",
          describe(x));
    mean = empty({2, channels}, statistics, x.device());  // and what its type loses of it
    var = empty({channels}, statistics, x.device());
    kernels::batch_norm_statistics(rows, mean, var);
    if (group) n = detail::join_statistics(mean, var, n, *group);
    if (training && has_running && !is_recomputing()) {
      const NoGrad off;
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
              dtype = std::array{w.dtype(), bias.defined() ? bias.dtype() : w.dtype()}, batch_statistics, activation,
              group, n](const Tensor& dy) {
               // dx = weight rstd (dz - <dz> - xhat <dz xhat>), without the means when the statistics are constants;
               // dweight = sum dz xhat, dbias = sum dz, with dz = dy behind the activation. Overwrites.
               Tensor dx = empty_like(sx()), dw = empty_like(sw()), db = empty_like(sw());
               kernels::batch_norm_backward(sx(), sm(), sr(), sw(), sb(), activation, dy.contiguous(),
                                            batch_statistics && !group, dx, dw, db);
               if (group) detail::join_gradients(dx, sx(), sm(), sr(), sw(), dw, db, n, *group);
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
