// conv2d and depthwise conv1d on channels-last tensors, with their gradients.
#pragma once

#include "atlas/core/rows_columns.h"
#include "atlas/kernels/conv.h"

namespace atlas::inline ATLAS_ABI {

/// Geometry of conv2d; pairs are {vertical, horizontal}.
struct Conv2dOptions {
  RowsColumns stride{1, 1};    ///< at least 1
  RowsColumns padding{0, 0};   ///< zeros on both sides, at least 0
  RowsColumns dilation{1, 1};  ///< distance between taps, at least 1
  int64_t groups = 1;          ///< divides the input and output channels
};

namespace detail {

Tensor contiguous_copy(const Tensor& t);

void check_bias(const Tensor& bias, const Tensor& x, int64_t channels, const char* op);

Conv2dShape conv2d_shape(const Tensor& x, const Tensor& weight, const Conv2dOptions& o);

/// dy [..., C] -> db [C]
Tensor bias_gradient(const Tensor& dy, DType dtype);

Tensor as_matrix(const Tensor& t, int64_t rows, int64_t columns);

}  // namespace detail

/// Two-dimensional convolution (cross-correlation, as in every framework) of channels-last images:
/// y[b,oh,ow,o] = bias[o] + sum over kh, kw, i of x[b, oh stride + kh dilation - padding, (same for w), i]
/// weight[o,kh,kw,i], where x is zero outside the image and o reads the channels of its own group.
///
/// @param given    x: float32, float64 or, on CUDA devices, bfloat16, [B,H,W,I]
/// @param weight   same dtype, [O,KH,KW,I/groups]
/// @param bias     same dtype, [O], or undefined for none
/// @param fused_given  what else is done to y, only where nothing is recorded, and not for one filter per channel
/// @return [B,OH,OW,O] with OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1 rounded down, OW likewise
/// @throws Error when shapes, dtypes or devices do not fit, or the kernel is larger than the padded image.
Tensor conv2d(const Tensor& given, const Tensor& weight, const Tensor& bias = {}, const Conv2dOptions& options = {},
              const Fused& fused_given = {});

/// Depthwise convolution along a sequence with "same" zero padding (K - 1 in all, of which floor((K - 1) / 2) in
/// front): y[b,l,c] = bias[c] + sum over k of x[b, l + k - floor((K - 1) / 2), c] weight[k,c].
///
/// @param given   x: float32, float64 or, on CUDA devices, bfloat16, [B,L,C]; a view whose channels are contiguous is
///                read in place
/// @param weight  same dtype, [K,C], K >= 1
/// @param bias    same dtype, [C], or undefined for none
/// @return [B,L,C]
/// @throws Error when shapes, dtypes or devices do not fit.
Tensor conv1d_depthwise(const Tensor& given, const Tensor& weight, const Tensor& bias = {});

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/conv-inl.h"
#endif
