// Cross entropy of one class of one row, shared by the CPU and CUDA.
#pragma once

#include <cstdint>

#include "atlas/core/math.h"

namespace atlas::inline ATLAS_ABI {

/// The terms of -Σ_i t_i log softmax(x)_i with smoothed weights t; a row has the maximum `top` and `log_sum`, the
/// logarithm of Σ exp(x - top).
template <class T>
struct CrossEntropy {
  T keep, spread;  ///< t_i = keep target_i + spread

  CrossEntropy(double smoothing, int64_t classes)
      : keep(static_cast<T>(1 - smoothing)), spread(static_cast<T>(smoothing / static_cast<double>(classes))) {}

  ATLAS_HOST_DEVICE T weight(T target) const { return keep * target + spread; }
  /// -log softmax of logit x
  ATLAS_HOST_DEVICE T surprise(T x, T top, T log_sum) const { return log_sum - (x - top); }
  /// d/dx_j of the row's loss, (Σ_i t_i) softmax_j - t_j, for `total` = Σ_i t_i and `weight` = t_j
  ATLAS_HOST_DEVICE T gradient(T x, T top, T log_sum, T total, T weight) const {
    return total * math::exp(x - top - log_sum) - weight;
  }
};

}  // namespace atlas::inline ATLAS_ABI
