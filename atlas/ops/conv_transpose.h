// conv_transpose2d: upsampling with learned filters, the gradient of conv2d turned into an op.
#pragma once

#include "atlas/ops/conv.h"

namespace atlas::inline ATLAS_ABI {

/// Geometry of conv_transpose2d; pairs are {vertical, horizontal}.
struct ConvTranspose2dOptions {
  RowsColumns stride{1, 1};          ///< at least 1
  RowsColumns padding{0, 0};         ///< cut off on both sides, at least 0
  RowsColumns output_padding{0, 0};  ///< added behind, at least 0, below the stride or the dilation
  RowsColumns dilation{1, 1};        ///< distance between taps, at least 1
  int64_t groups = 1;                ///< divides the input and output channels
};

/// Transposed convolution of channels-last images: y[b, h stride + kh dilation - padding, (same for w), o] is the sum
/// of bias[o] and, over h, w, kh, kw and the channels i of o's group, of x[b,h,w,i] weight[i,kh,kw,o].
///
/// @param x        float32 or float64, [B,H,W,I]
/// @param weight   same dtype, [I,KH,KW,O/groups]: PyTorch's [I,O/groups,KH,KW], channels last
/// @param bias     same dtype, [O], or undefined for none
/// @return [B,OH,OW,O] with OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1, OW likewise
/// @throws Error when shapes, dtypes or devices do not fit, or nothing would be left of the image.
ATLAS_INLINE Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                                     const ConvTranspose2dOptions& options = {});

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/conv_transpose-inl.h"
#endif
