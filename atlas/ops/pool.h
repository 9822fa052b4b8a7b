// Pooling of feature maps: maximum, average and adaptive average.
#pragma once

#include "atlas/core/rows_columns.h"
#include "atlas/kernels/pool.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// The window after checking it against x.
PoolWindow checked(const char* op, const Tensor& x, RowsColumns kernel, RowsColumns stride, RowsColumns padding);

}  // namespace detail

/// Maximum of each kernel x kernel window. The gradient goes to the first maximum of a window in row-major order; NaN
/// spreads.
/// @param x        float32 or float64 [B, H, W, C]
/// @param kernel   {vertical, horizontal} lengths
/// @param stride   steps between windows
/// @param padding  pixels of minus infinity around the image, at most half the kernel
/// @return [B, OH, OW, C], OH = floor((H + 2 padding - kernel) / stride) + 1
/// @throws Error for an impossible window or an image smaller than the kernel.
Tensor max_pool2d(const Tensor& x, RowsColumns kernel, RowsColumns stride, RowsColumns padding = {0, 0});
/// max_pool2d with square windows side by side.
Tensor max_pool2d(const Tensor& x, int64_t kernel);

/// Average of each window; padding counts as zeros.
/// @param x                  float32 or float64 [B, H, W, C]
/// @param kernel             {vertical, horizontal} lengths
/// @param stride             steps between windows
/// @param padding            pixels of zeros around the image, at most half the kernel
/// @param count_include_pad  divide by the whole window; otherwise by the pixels of the image in it
/// @return [B, OH, OW, C], OH = floor((H + 2 padding - kernel) / stride) + 1
/// @throws Error for an impossible window or an image smaller than the kernel.
Tensor avg_pool2d(const Tensor& x, RowsColumns kernel, RowsColumns stride, RowsColumns padding = {0, 0},
                  bool count_include_pad = true);
/// avg_pool2d with square windows side by side.
Tensor avg_pool2d(const Tensor& x, int64_t kernel);

/// Averages to a given size: output i of an axis averages the inputs [floor(i in / out), ceil((i + 1) in / out)).
/// @param x       float32 or float64 [B, H, W, C]
/// @param height  new H, at least 1 (1 with width 1: the mean over the image)
/// @param width   new W, at least 1
/// @return [B, height, width, C]
/// @throws Error for another number of axes and an empty map or size.
Tensor adaptive_avg_pool2d(const Tensor& x, int64_t height, int64_t width);

/// max_pool2d from plain ops. The gradient is shared by equal maxima of a window.
Tensor max_pool2d_reference(const Tensor& x, RowsColumns kernel, RowsColumns stride, RowsColumns padding = {0, 0});

/// avg_pool2d (with padding counted) from plain ops.
Tensor avg_pool2d_reference(const Tensor& x, RowsColumns kernel, RowsColumns stride, RowsColumns padding = {0, 0});

/// adaptive_avg_pool2d from plain ops.
Tensor adaptive_avg_pool2d_reference(const Tensor& x, int64_t height, int64_t width);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/pool-inl.h"
#endif
