// Max pooling. (Average pooling is separable and uses kernels/resize.h.)
#pragma once

#include <array>

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// Windows of a 2-d pooling, as {vertical, horizontal}; padding is outside the image.
struct PoolWindow {
  std::array<int64_t, 2> kernel, stride, padding;

  /// Number of windows that fit along axis 0 or 1 of an image.
  int64_t count(int64_t length, size_t axis) const {
    return (length + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1;
  }
  /// The dtype that holds the position of a pixel in its window.
  DType index_dtype() const {
    return kernel[0] <= 256 && kernel[1] <= 256 && kernel[0] * kernel[1] <= 256 ? uint8 : int64;
  }
};

// x, dx [B, H, W, C]; y, dy, index [B, OH, OW, C]; contiguous, outputs overwritten.
namespace cpu {
void max_pool2d_forward(const Tensor& x, const PoolWindow& window, Tensor& y, Tensor& index);
void max_pool2d_backward(const Tensor& index, const Tensor& dy, const PoolWindow& window, Tensor& dx);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void max_pool2d_forward(const Tensor& x, const PoolWindow& window, Tensor& y, Tensor& index);
void max_pool2d_backward(const Tensor& index, const Tensor& dy, const PoolWindow& window, Tensor& dx);
}  // namespace cuda

namespace kernels {

/// Maximum of each window and, unless `index` is undefined, its row-major position in the window (of the first
/// maximum).
inline constexpr Kernel<cpu::max_pool2d_forward, cuda::max_pool2d_forward> max_pool2d_forward{"max_pool2d",
                                                                                              "max_pool2d"};

inline constexpr Kernel<cpu::max_pool2d_backward, cuda::max_pool2d_backward> max_pool2d_backward{"max_pool2d",
                                                                                                 "max_pool2d backward"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/pool-inl.h"
#endif
