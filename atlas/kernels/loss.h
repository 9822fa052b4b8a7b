// Cross entropy of rows of logits against class numbers or class probabilities.
#pragma once

#include "atlas/core/profile.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

// logits, dlogits, dtarget [B, C] of one float dtype; target int64 [B] or like logits; statistics [B, 2] holds each
// row's maximum m and log sum exp(x - m); loss and dloss are one element. All contiguous, outputs overwritten; B, C
// >= 1.
namespace cpu {
void cross_entropy_forward(const Tensor& logits, const Tensor& target, double smoothing, Tensor& loss,
                           Tensor& statistics);
void cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& statistics, double smoothing,
                            const Tensor& dloss, Tensor& dlogits);
void cross_entropy_target_backward(const Tensor& logits, const Tensor& statistics, double smoothing,
                                   const Tensor& dloss, Tensor& dtarget);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void cross_entropy_forward(const Tensor& logits, const Tensor& target, double smoothing, Tensor& loss,
                           Tensor& statistics);
void cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& statistics, double smoothing,
                            const Tensor& dloss, Tensor& dlogits);
void cross_entropy_target_backward(const Tensor& logits, const Tensor& statistics, double smoothing,
                                   const Tensor& dloss, Tensor& dtarget);
}  // namespace cuda

namespace kernels {

/// Mean over rows of -sum_c t_c log softmax(x)_c, with t = (1 - smoothing) target + smoothing / C.
/// @throws Error for a class number outside [0, C).
inline void cross_entropy_forward(const Tensor& logits, const Tensor& target, double smoothing, Tensor& loss,
                                  Tensor& statistics) {
  const ProfileScope profile("cross_entropy", 0, logits, target, loss, statistics);
  if constexpr (kWithCuda)
    if (on_cuda("cross_entropy", logits, target, loss, statistics))
      return cuda::cross_entropy_forward(logits, target, smoothing, loss, statistics);
  cpu::cross_entropy_forward(logits, target, smoothing, loss, statistics);
}

inline void cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& statistics,
                                   double smoothing, const Tensor& dloss, Tensor& dlogits) {
  const ProfileScope profile("cross_entropy backward", 0, logits, target, statistics, dloss, dlogits);
  if constexpr (kWithCuda)
    if (on_cuda("cross_entropy", logits, target, statistics, dloss, dlogits))
      return cuda::cross_entropy_backward(logits, target, statistics, smoothing, dloss, dlogits);
  cpu::cross_entropy_backward(logits, target, statistics, smoothing, dloss, dlogits);
}

/// Gradient of class probabilities.
inline void cross_entropy_target_backward(const Tensor& logits, const Tensor& statistics, double smoothing,
                                          const Tensor& dloss, Tensor& dtarget) {
  const ProfileScope profile("cross_entropy backward", 0, logits, statistics, dloss, dtarget);
  if constexpr (kWithCuda)
    if (on_cuda("cross_entropy", logits, statistics, dloss, dtarget))
      return cuda::cross_entropy_target_backward(logits, statistics, smoothing, dloss, dtarget);
  cpu::cross_entropy_target_backward(logits, statistics, smoothing, dloss, dtarget);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/loss-inl.h"
#endif
