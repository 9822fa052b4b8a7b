// Cross entropy, fused with log-softmax; its composite of plain ops for comparison.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/kernels/loss.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/join.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/softmax.h"

namespace atlas::inline ATLAS_ABI {

/// Mean cross entropy over a batch.
///
/// loss = -1/B sum_b sum_c t_bc log softmax(logits_b)_c, with t = (1 - e) target + e / C for the label smoothing e; a
/// class number stands for the one-hot row.
/// @param logits           float32 or float64 [B, C], B and C at least 1
/// @param target           int64 [B] with values in [0, C), or class probabilities [B, C] of the dtype of logits
/// @param label_smoothing  e in [0, 1]
/// @return a scalar (no axes)
/// @throws Error for shapes that do not fit, an empty batch, and a class outside [0, C) (names its row and value).
/// Label smoothing: Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7.
inline Tensor cross_entropy(const Tensor& logits, const Tensor& target, double label_smoothing = 0) {
  const char* op = "cross_entropy";
  if (logits.dtype() == bfloat16 && logits.device().is_cuda())
    return cross_entropy(to(logits, float32), target, label_smoothing);
  check(logits.dim() == 2, op, "logits need two axes [B, C], got {}", describe(logits));
  check_float(logits, op);
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  check(rows > 0, op, "the mean over an empty batch is undefined: logits {} axis 0 = 0", describe(logits));
  check(classes > 0, op, "needs at least one class: logits {} axis 1 = 0", describe(logits));
  check(label_smoothing >= 0 && label_smoothing <= 1, op, "label_smoothing is {}, needs [0, 1]", label_smoothing);
  const bool hard = target.defined() && target.dtype() == int64 && target.shape() == Shape{rows};
  const bool soft = target.defined() && target.dtype() == logits.dtype() && target.shape() == logits.shape();
  check(hard || soft, op, "target {} does not fit logits {}: needs int64[{}] (classes) or {}{} (probabilities)",
        describe(target), describe(logits), rows, name(logits.dtype()), logits.shape());
  check(target.device() == logits.device(), op, "logits {} and target {} are on different devices", describe(logits),
        describe(target));

  const Tensor x = logits.contiguous(), t = target.contiguous();
  Tensor loss = empty({}, x.dtype(), x.device()), statistics = empty({rows, 2}, x.dtype(), x.device());
  kernels::cross_entropy_forward(x, t, label_smoothing, loss, statistics);
  return record(op, loss, {logits, target},
                [x = Saved(x, op), t = Saved(t, op), s = Saved(statistics, op), label_smoothing,
                 wants_target = target.requires_grad()](const Tensor& dy) {
                  // dlogits = ((sum t) softmax - t) dy / B; dtarget = -(1 - e) log softmax dy / B. Overwrites.
                  Tensor dx = empty_like(x()), dt;
                  kernels::cross_entropy_backward(x(), t(), s(), label_smoothing, dy, dx);
                  if (wants_target) {
                    dt = empty_like(x());
                    kernels::cross_entropy_target_backward(x(), s(), label_smoothing, dy, dt);
                  }
                  return Grads{dx, dt};
                });
}

/// cross_entropy from plain ops.
inline Tensor cross_entropy_reference(const Tensor& logits, const Tensor& target, double label_smoothing = 0) {
  const Tensor log_p = log_softmax_reference(logits, 1);
  const Tensor wanted =
      target.dtype() == int64 ? gather(log_p, 1, target.unsqueeze(1)).squeeze(1) : sum(log_p * target, {1});
  return -mean(wanted * (1 - label_smoothing) + mean(log_p, {1}) * label_smoothing);
}

}  // namespace atlas::inline ATLAS_ABI
