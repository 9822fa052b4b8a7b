// Max pooling. (Average pooling is separable and uses kernels/resize.h.)
#pragma once

#include <array>

#include "atlas/core/profile.h"
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
inline void max_pool2d_forward(const Tensor& x, const PoolWindow& window, Tensor& y, Tensor& index) {
  const ProfileScope profile("max_pool2d", 0, x, y, index);
  if constexpr (kWithCuda)
    if (on_cuda("max_pool2d", x, y, index)) return cuda::max_pool2d_forward(x, window, y, index);
  cpu::max_pool2d_forward(x, window, y, index);
}

inline void max_pool2d_backward(const Tensor& index, const Tensor& dy, const PoolWindow& window, Tensor& dx) {
  const ProfileScope profile("max_pool2d backward", 0, index, dy, dx);
  if constexpr (kWithCuda)
    if (on_cuda("max_pool2d", index, dy, dx)) return cuda::max_pool2d_backward(index, dy, window, dx);
  cpu::max_pool2d_backward(index, dy, window, dx);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/pool-inl.h"
#endif
