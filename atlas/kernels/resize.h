// Separable resampling of feature maps: every output row and column is a weighted sum of neighboring input rows and
// columns. Resizing, its gradient (transposed weights) and average pooling are all this one kernel.
#pragma once

#include <vector>

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// Output index i of one axis is the sum over k < count[i] of weight[first[i] + k] * input[begin[i] + k].
struct ResampleTaps {
  std::vector<int64_t> begin, count, first;
  std::vector<double> weight;

  int64_t size() const { return static_cast<int64_t>(begin.size()); }
  /// Adds the next output index, with weights for input begin_index, begin_index + 1, ...
  void push_back(int64_t begin_index, const std::vector<double>& weights) {
    begin.push_back(begin_index);
    count.push_back(static_cast<int64_t>(weights.size()));
    first.push_back(static_cast<int64_t>(weight.size()));
    weight.insert(weight.end(), weights.begin(), weights.end());
  }
};

namespace cpu {
void resample2d(const Tensor& x, const ResampleTaps& rows, const ResampleTaps& columns, Tensor& y);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void resample2d(const Tensor& x, const ResampleTaps& rows, const ResampleTaps& columns, Tensor& y);
}  // namespace cuda

namespace kernels {

/// y[b, i, j, c] = sum_k sum_l rows.weight[i, k] columns.weight[j, l] x[b, .., .., c]. x [B, H, W, C] to y [B,
/// rows.size(), columns.size(), C], contiguous, float32, float64 or uint8 (computed in float32, rounded half up and
/// clamped).
inline constexpr Kernel<cpu::resample2d, cuda::resample2d> resample2d{"resample2d", "resample2d"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/resize-inl.h"
#endif
