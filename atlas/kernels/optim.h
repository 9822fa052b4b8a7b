// Kernels of the optimisers: one pass over a parameter, its gradient and its state. Operands are contiguous, of one
// dtype (float32 or float64) and of one length; results do not depend on the number of threads.
#pragma once

#include "atlas/core/config.h"
#include "atlas/core/profile.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// Coefficients of one SGD update. `momentum` 0 means that there is no buffer.
struct SgdStep {
  double lr, momentum, weight_decay;
  bool nesterov;
};

/// Coefficients of one update of Adam, AdamW or LAMB; `step` counts from 1.
struct AdamStep {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;         // decay acts on the weight (AdamW) rather than on the gradient (Adam); LAMB ignores it
  double gradient_scale;  // the gradient is multiplied by this first (LAMB)
  int64_t step;
};

namespace cpu {
void sgd_update(Tensor& p, const Tensor& g, Tensor& buffer, const SgdStep& s);
void adam_update(Tensor& p, const Tensor& g, Tensor& m, Tensor& v, const AdamStep& s);
void lamb_update(Tensor& p, const Tensor& g, Tensor& m, Tensor& v, const AdamStep& s);
void ema_update(Tensor& average, const Tensor& x, double decay);
void swap_values(Tensor& a, Tensor& b);
double sum_of_squares(const Tensor& x);
}  // namespace cpu

namespace kernels {

/// buffer = momentum buffer + g', p -= lr (buffer, or g' + momentum buffer for Nesterov), with g' = g + weight_decay p.
inline void sgd_update(Tensor& p, const Tensor& g, Tensor& buffer, const SgdStep& s) {
  if (p.device().is_cuda()) fail_no_cuda("SGD");
  const ProfileScope profile("SGD", 0, p, g, buffer);
  cpu::sgd_update(p, g, buffer, s);
}
/// Moments m, v and p -= lr m̂ / (√v̂ + eps), decay on the weight or on the gradient.
inline void adam_update(Tensor& p, const Tensor& g, Tensor& m, Tensor& v, const AdamStep& s) {
  if (p.device().is_cuda()) fail_no_cuda("Adam");
  const ProfileScope profile("Adam", 0, p, g, m, v);
  cpu::adam_update(p, g, m, v, s);
}
/// Moments m, v and p -= lr r d, with d = m̂ / (√v̂ + eps) + weight_decay p and the trust ratio r = |p| / |d|.
inline void lamb_update(Tensor& p, const Tensor& g, Tensor& m, Tensor& v, const AdamStep& s) {
  if (p.device().is_cuda()) fail_no_cuda("LAMB");
  const ProfileScope profile("LAMB", 0, p, g, m, v);
  cpu::lamb_update(p, g, m, v, s);
}
/// average = decay average + (1 - decay) x
inline void ema_update(Tensor& average, const Tensor& x, double decay) {
  if (average.device().is_cuda()) fail_no_cuda("Ema");
  const ProfileScope profile("Ema", 0, average, x);
  cpu::ema_update(average, x, decay);
}
/// Exchanges the elements of two contiguous tensors of one dtype (any) and size.
inline void swap_values(Tensor& a, Tensor& b) {
  if (a.device().is_cuda()) fail_no_cuda("swap");
  const ProfileScope profile("swap", 0, a, b);
  cpu::swap_values(a, b);
}
/// Σ x², accumulated in float64.
inline double sum_of_squares(const Tensor& x) {
  if (x.device().is_cuda()) fail_no_cuda("sum_of_squares");
  const ProfileScope profile("sum_of_squares", 0, x);
  return cpu::sum_of_squares(x);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/optim-inl.h"
#endif
