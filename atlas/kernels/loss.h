// Cross entropy of rows of logits against class numbers or class probabilities.
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// How cross_entropy_forward() and its gradients count.
struct CrossEntropySetting {
  double smoothing = 0;
  bool ignores = false;  ///< whether rows of the class `ignored` count for nothing
  int64_t ignored = 0;
};

// logits, dlogits, dtarget [R, C] of one float dtype; target int64 [R] or like logits; weights of classes [C] or
// undefined; row_loss [R]. statistics [R, 3] holds each row's maximum m, log sum exp(x - m), and its weight: that of
// its class, 0 where it is ignored, 1 for probabilities. drow [R] may repeat one element (stride 0); all others are
// contiguous; outputs are overwritten; R, C >= 1.
namespace cpu {
void cross_entropy_forward(const Tensor& logits, const Tensor& target, const Tensor& weights,
                           const CrossEntropySetting& setting, Tensor& row_loss, Tensor& statistics);
void cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& weights, const Tensor& statistics,
                            const CrossEntropySetting& setting, const Tensor& drow, Tensor& dlogits);
void cross_entropy_target_backward(const Tensor& logits, const Tensor& weights, const Tensor& statistics,
                                   const CrossEntropySetting& setting, const Tensor& drow, Tensor& dtarget);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void cross_entropy_forward(const Tensor& logits, const Tensor& target, const Tensor& weights,
                           const CrossEntropySetting& setting, Tensor& row_loss, Tensor& statistics);
void cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& weights, const Tensor& statistics,
                            const CrossEntropySetting& setting, const Tensor& drow, Tensor& dlogits);
void cross_entropy_target_backward(const Tensor& logits, const Tensor& weights, const Tensor& statistics,
                                   const CrossEntropySetting& setting, const Tensor& drow, Tensor& dtarget);
}  // namespace cuda

namespace kernels {

/// For each row -sum_c w_c t_c log softmax(x)_c, with t = (1 - smoothing) target + smoothing / C.
/// @throws Error for a class number outside [0, C) that is not ignored.
inline constexpr Kernel<cpu::cross_entropy_forward, cuda::cross_entropy_forward> cross_entropy_forward{"cross_entropy",
                                                                                                       "cross_entropy"};

inline constexpr Kernel<cpu::cross_entropy_backward, cuda::cross_entropy_backward> cross_entropy_backward{
    "cross_entropy", "cross_entropy backward"};

/// Gradient of class probabilities.
inline constexpr Kernel<cpu::cross_entropy_target_backward, cuda::cross_entropy_target_backward>
    cross_entropy_target_backward{"cross_entropy", "cross_entropy backward"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/loss-inl.h"
#endif
