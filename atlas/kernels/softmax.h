// Softmax and its logarithm along the middle axis of [outer, n, inner].
#pragma once

#include "atlas/core/profile.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// A tensor of any shape seen from one axis: [outer, n, inner], contiguous.
struct AxisView {
  int64_t outer = 1, n = 1, inner = 1;

  AxisView(const Shape& shape, int axis) : n(shape[axis]) {
    for (int i = 0; i < axis; ++i) outer *= shape[i];
    for (int i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  }
};

// x, y, dy, dx: contiguous, one float dtype, same shape; outputs overwritten.
namespace cpu {
void softmax_forward(const Tensor& x, const AxisView& view, bool logarithm, Tensor& y);
void softmax_backward(const Tensor& y, const Tensor& dy, const AxisView& view, bool logarithm, Tensor& dx);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void softmax_forward(const Tensor& x, const AxisView& view, bool logarithm, Tensor& y);
void softmax_backward(const Tensor& y, const Tensor& dy, const AxisView& view, bool logarithm, Tensor& dx);
}  // namespace cuda

namespace kernels {

/// y = exp(x - max) / sum exp(x - max) along n; with `logarithm`, y = x - max - log sum exp(x - max).
inline void softmax_forward(const Tensor& x, const AxisView& view, bool logarithm, Tensor& y) {
  const ProfileScope profile("softmax", 0, x, y);
  if constexpr (kWithCuda)
    if (on_cuda("softmax", x, y)) return cuda::softmax_forward(x, view, logarithm, y);
  cpu::softmax_forward(x, view, logarithm, y);
}

/// dx from the result y and its gradient.
inline void softmax_backward(const Tensor& y, const Tensor& dy, const AxisView& view, bool logarithm, Tensor& dx) {
  const ProfileScope profile("softmax backward", 0, y, dy, dx);
  if constexpr (kWithCuda)
    if (on_cuda("softmax", y, dy, dx)) return cuda::softmax_backward(y, dy, view, logarithm, dx);
  cpu::softmax_backward(y, dy, view, logarithm, dx);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/softmax-inl.h"
#endif
