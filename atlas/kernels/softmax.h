// Softmax and its logarithm along the middle axis of [outer, n, inner].
#pragma once

#include "atlas/kernels/kernel.h"
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
namespace cpu::plain {  // the same as plain loops, in atlas/reference/
void softmax_forward(const Tensor& x, const AxisView& view, bool logarithm, Tensor& y);
void softmax_backward(const Tensor& y, const Tensor& dy, const AxisView& view, bool logarithm, Tensor& dx);
}  // namespace cpu::plain

namespace kernels {

/// y = exp(x - max) / sum exp(x - max) along n; with `logarithm`, y = x - max - log sum exp(x - max).
inline constexpr Kernel<cpu::softmax_forward, cuda::softmax_forward, cpu::plain::softmax_forward> softmax_forward{
    "softmax", "softmax"};

/// dx from the result y and its gradient.
inline constexpr Kernel<cpu::softmax_backward, cuda::softmax_backward, cpu::plain::softmax_backward> softmax_backward{
    "softmax", "softmax backward"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/softmax-inl.h"
#include "atlas/reference/softmax-inl.h"
#endif
