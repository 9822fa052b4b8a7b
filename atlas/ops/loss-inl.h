// Bodies of ops/loss.h.
#pragma once

#include <cstdint>
#include <limits>

#include "atlas/autograd/node.h"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/loss.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/axes.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/elementwise-inl.h"
#include "atlas/ops/join.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/select.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/softmax.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor cross_entropy(const Tensor& logits, const Tensor& target, double label_smoothing) {
  return cross_entropy(logits, target, CrossEntropyOptions{.label_smoothing = label_smoothing});
}

ATLAS_INLINE Tensor cross_entropy_reference(const Tensor& logits, const Tensor& target, double label_smoothing) {
  return cross_entropy_reference(logits, target, CrossEntropyOptions{.label_smoothing = label_smoothing});
}

}  // namespace atlas::inline ATLAS_ABI

namespace atlas::inline ATLAS_ABI {

namespace detail {

inline void check_cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  const char* op = "cross_entropy";
  check(logits.defined(), op, "the logits are undefined");
  check(logits.dim() >= 1, op, "logits need an axis of classes, [..., C], got {}", describe(logits));
  check_float(logits, op);
  Shape rows = logits.shape();
  const int64_t classes = rows.back();
  rows.erase(rows.size() - 1);
  check(classes > 0, op, "needs at least one class: logits {} axis {} = 0", describe(logits), rows.size());
  check(options.label_smoothing >= 0 && options.label_smoothing <= 1, op, "label_smoothing is {}, needs [0, 1]",
        options.label_smoothing);
  const bool hard = target.defined() && target.dtype() == int64 && target.shape() == rows;
  const bool soft = target.defined() && target.dtype() == logits.dtype() && target.shape() == logits.shape();
  check(hard || soft, op, "target {} does not fit logits {}: needs int64{} (classes) or {}{} (probabilities)",
        describe(target), describe(logits), rows, name(logits.dtype()), logits.shape());
  check(target.device() == logits.device(), op, "logits {} and target {} are on different devices", describe(logits),
        describe(target));
  check(hard || options.ignore_index == kNoClass, op, "ignore_index needs classes as target, got {}", describe(target));
  const Tensor& w = options.weight;
  check(!w.defined() || (w.dtype() == logits.dtype() && w.shape() == Shape{classes}), op,
        "the weights of the classes must be {}[{}] for logits {}, got {}", name(logits.dtype()), classes,
        describe(logits), describe(w));
  for (int axis = 0; axis < rows.size() && options.reduction == Reduction::mean; ++axis)
    check(rows[axis] > 0, op, "the mean over an empty batch is undefined: logits {} axis {} = 0", describe(logits),
          axis);
}

/// Losses of single elements, reduced.
inline Tensor reduce_loss(const char* op, const Tensor& x, Reduction reduction) {
  check(reduction != Reduction::mean || x.numel() > 0, op, "the mean over nothing is undefined: {}", describe(x));
  return reduction == Reduction::none ? x : reduction == Reduction::sum ? sum(x) : mean(x);
}

/// x - y of a loss.
inline Tensor error_of(const char* op, const Tensor& x, const Tensor& y) {
  check_float(x, op);
  check(y.defined() && x.shape() == y.shape() && x.dtype() == y.dtype(), op,
        "needs two tensors of one shape and dtype, got {} and {} (losses do not broadcast: expand or reshape one)",
        describe(x), describe(y));
  return sub(x, y);
}

}  // namespace detail

ATLAS_INLINE Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  const char* op = "cross_entropy";
  if (logits.defined() && logits.dtype() == bfloat16 && logits.device().is_cuda())
    return cross_entropy(to(logits, float32), target, options);
  detail::check_cross_entropy(logits, target, options);
  Shape shape = logits.shape();
  const int64_t classes = shape.back();
  shape.erase(shape.size() - 1);
  const int64_t rows = shape.numel();
  const bool hard = target.dtype() == int64;
  const Tensor x = detail::view_as(detail::raw_contiguous(logits), {rows, classes});
  const Tensor t = detail::view_as(detail::raw_contiguous(target), hard ? Shape{rows} : Shape{rows, classes});
  const Tensor w = options.weight.defined() ? detail::raw_contiguous(options.weight) : Tensor();
  const CrossEntropySetting setting{options.label_smoothing, options.ignore_index != kNoClass, options.ignore_index};
  Tensor losses = empty(shape, x.dtype(), x.device()), statistics = empty({rows, 3}, x.dtype(), x.device());
  if (rows > 0) {
    Tensor row_loss = detail::view_as(losses, {rows});
    kernels::cross_entropy_forward(x, t, w, setting, row_loss, statistics);
  }
  // What the sum is divided by: a number where it is known, else the sum of the rows' weights.
  const bool mean = options.reduction == Reduction::mean, weighted = mean && hard && (w.defined() || setting.ignores);
  const double scale = mean && !weighted ? 1.0 / static_cast<double>(rows) : 1.0;
  const detail::AxisMask all = detail::axis_mask({}, losses, op);
  Tensor divisor, loss = losses;
  if (weighted) divisor = detail::raw_sum(raw_view(statistics, {rows}, {3}, 2), detail::AxisMask{true}, {});
  if (options.reduction != Reduction::none) loss = detail::raw_sum(losses, all, {}, scale);
  if (weighted) loss = detail::binary(functors::Div{}, op, loss, divisor);
  return record(
      op, loss, {logits, target},
      [x = Saved(x, op), t = Saved(t, op), w = Saved(w, op), s = Saved(statistics, op), divisor = Saved(divisor, op),
       setting, scale, rows, none = options.reduction == Reduction::none, wants_logits = logits.requires_grad(),
       wants_target = target.requires_grad(), from = logits.shape()](const Tensor& dy) {
        Tensor g = divisor().defined() ? div(dy, divisor()) : (scale != 1 ? mul(dy, scale) : dy);
        g = none ? detail::view_as(detail::raw_contiguous(g), {rows}) : raw_view(g, {rows}, {0}, g.offset());
        // dlogits = ((sum u) softmax - u) g with u = w t; dtarget = -w (1 - e) log softmax g. Overwrites.
        Tensor dx, dt;
        if (wants_logits) {
          dx = empty_like(x());
          if (rows > 0) kernels::cross_entropy_backward(x(), t(), w(), s(), setting, g, dx);
          dx = detail::view_as(dx, from);
        }
        if (wants_target) {
          dt = empty_like(x());
          if (rows > 0) kernels::cross_entropy_target_backward(x(), w(), s(), setting, g, dt);
          dt = detail::view_as(dt, from);
        }
        return Grads{dx, dt};
      });
}

ATLAS_INLINE Tensor cross_entropy_reference(const Tensor& logits, const Tensor& target,
                                            const CrossEntropyOptions& options) {
  detail::check_cross_entropy(logits, target, options);
  const int64_t classes = logits.size(-1);
  const Tensor w = options.weight.defined() ? options.weight : ones({classes}, logits.dtype(), logits.device());
  const Tensor log_p = log_softmax_reference(logits, -1) * w;  // each class with its weight
  const double e = options.label_smoothing;
  if (target.dtype() != int64)
    return detail::reduce_loss("cross_entropy", -sum(log_p * (target * (1 - e) + e / static_cast<double>(classes)), -1),
                               options.reduction);
  const Tensor ignored =
      eq(target, options.ignore_index == kNoClass ? -1.0 : static_cast<double>(options.ignore_index));
  const Tensor label = masked_fill(target, ignored, 0).unsqueeze(-1);
  const Tensor own = gather(log_p, -1, label).squeeze(-1);
  const Tensor losses = masked_fill(-(own * (1 - e) + sum(log_p, -1) * (e / static_cast<double>(classes))), ignored, 0);
  if (options.reduction == Reduction::none) return losses;
  if (options.reduction == Reduction::sum) return sum(losses);
  const Tensor weights = gather(expand(w, log_p.shape()), -1, label).squeeze(-1);
  return sum(losses) / sum(masked_fill(weights, ignored, 0));
}

ATLAS_INLINE Tensor mse_loss(const Tensor& x, const Tensor& y, Reduction reduction) {
  return detail::reduce_loss("mse_loss", square(detail::error_of("mse_loss", x, y)), reduction);
}

ATLAS_INLINE Tensor l1_loss(const Tensor& x, const Tensor& y, Reduction reduction) {
  return detail::reduce_loss("l1_loss", abs(detail::error_of("l1_loss", x, y)), reduction);
}

ATLAS_INLINE Tensor smooth_l1_loss(const Tensor& x, const Tensor& y, double beta, Reduction reduction) {
  const char* op = "smooth_l1_loss";
  check(beta >= 0, op, "beta is {}, needs at least 0", beta);
  const Tensor d = detail::error_of(op, x, y);
  return detail::reduce_loss(op, beta == 0 ? abs(d) : detail::unary(functors::SmoothL1{beta}, d), reduction);
}

ATLAS_INLINE Tensor bce_with_logits(const Tensor& x, const Tensor& t, const BceOptions& options) {
  const char* op = "bce_with_logits";
  check_float(x, op);
  check(t.defined() && x.shape() == t.shape() && x.dtype() == t.dtype(), op,
        "needs logits and targets of one shape and dtype, got {} and {}", describe(x), describe(t));
  for (const Tensor& w : {options.weight, options.pos_weight})
    check(!w.defined() || broadcast_shapes(x, w, op) == x.shape(), op, "the weight {} does not broadcast to {}",
          describe(w), describe(x));
  // -log sigmoid(x) is softplus(-x), and -log(1 - sigmoid(x)) is x more.
  Tensor positive = softplus(neg(x));
  if (options.pos_weight.defined()) positive = mul(add(mul(sub(options.pos_weight, 1), t), 1), positive);
  Tensor losses = add(mul(sub(1, t), x), positive);
  if (options.weight.defined()) losses = mul(losses, options.weight);
  return detail::reduce_loss(op, losses, options.reduction);
}

}  // namespace atlas::inline ATLAS_ABI
