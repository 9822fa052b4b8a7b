// Layer norm over the last axis and batch norm over all others, fused; their composites of plain ops for comparison.
#pragma once

#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

void check_input(const Tensor& x, const char* op);

}  // namespace detail

/// Layer normalization over the last axis.
///
/// y = (x - mean) / sqrt(var + eps) * weight + bias, with mean and biased variance of each row.
/// @param x       float32, float64 or (on CUDA devices) bfloat16 [..., C]; weight and bias may be float32 beside
/// bfloat16
/// @param weight  [C]; undefined means ones
/// @param bias    [C]; undefined means zeros
/// @param eps     added to the variance
/// @return [..., C]
/// @throws Error when weight or bias is not [C] of x's dtype.
/// Ba, Kiros, Hinton, "Layer Normalization", 2016, equation 4.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5);

/// Batch normalization over all axes but the last (channels-last).
///
///     y = (x - mean) / sqrt(var + eps) * weight + bias       per channel
///     running = (1 - momentum) running + momentum * (mean, unbiased variance)
///
/// In training, mean and biased variance are those of x, and the running statistics are updated. Otherwise the running
/// statistics are used. Recomputation inside checkpoint() does not update them a second time. An activation is applied
/// in the same passes over memory; backward computes the result again instead of keeping it.
/// @param x             float32 or float64 [..., C]
/// @param weight        [C]; undefined means ones
/// @param bias          [C]; undefined means zeros
/// @param running_mean  [C], updated in place in training; undefined means: always use the statistics of x
/// @param running_var   [C], likewise
/// @param training      whether to use the statistics of x and update the running ones
/// @param momentum      weight of the new statistics in [0, 1]
/// @param eps           added to the variance
/// @param activation    applied to the result
/// @return [..., C]
/// @throws Error for vectors that are not [C] of x's dtype, one running statistic without the other, and a single value
///         per channel in training, whose variance is undefined.
/// Ioffe, Szegedy, "Batch Normalization", 2015, algorithm 1.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                  const Tensor& running_var, bool training, double momentum = 0.1, double eps = 1e-5,
                  Activation activation = Activation::none);

/// Adds 1 to a counter of training batches (int64 []), unless checkpoint() is computing one a second time.
void count_batch(Tensor counter);

/// layer_norm from plain ops.
Tensor layer_norm_reference(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5);

/// batch_norm with the statistics of x, from plain ops.
Tensor batch_norm_reference(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/norm-inl.h"
#endif
