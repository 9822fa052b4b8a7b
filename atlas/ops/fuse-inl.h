// Bodies of fuse.h.
#pragma once

#include <algorithm>

#include "atlas/autograd/autocast.h"
#include "atlas/core/isa.h"
#include "atlas/core/precision.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/fuse.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor PackedWeight::for_product(const Tensor& x, const Tensor& weight) const {
  if (!detail::inference_mode() || x.device().is_cuda()) {
    forget();
    return {};
  }
  const int64_t rows = x.numel() / std::max<int64_t>(1, x.size(-1));
  return packed_.get({weight}, [&] { return kernels::packed_weight(weight.detach(), rows); },
                     {static_cast<int64_t>(cpu_isa()), kernels::worth_packing(rows),
                      static_cast<int64_t>(inference_precision()), plain_kernels()});
}

ATLAS_INLINE Tensor PackedWeight::for_convolution(const Tensor& x, const Tensor& weight,
                                                  const Conv2dOptions& options) const {
  if (!detail::inference_mode() || x.device().is_cuda()) {
    forget();
    return {};
  }
  return packed_.get({weight},
                     [&] {
                       const Conv2dShape s = detail::conv2d_shape(x, weight, options);
                       return kernels::packed_filters(detail::contiguous_copy(weight.detach()), s);
                     },
                     {static_cast<int64_t>(cpu_isa()), static_cast<int64_t>(inference_precision()), exact_convolution(),
                      plain_kernels(), x.size(0), x.size(1), x.size(2)});
}

ATLAS_INLINE Tensor add_scaled(const Tensor& residual, Tensor y, const Tensor& scale) {
  if (scale.defined()) y = scale * std::move(y);
  return residual.defined() ? residual + std::move(y) : y;
}

ATLAS_INLINE Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const PackedWeight& packed,
                           const Epilogue& then) {
  if (!detail::inference_mode() || x.dim() == 0) {
    packed.forget();
    return add_scaled(then.residual, activate(linear(x, weight, bias), then.activation), then.scale);
  }
  // A sum has the wider of two types. On CUDA devices, scale and residual would be a pass of their own all the same.
  const bool fits = !x.device().is_cuda() && !detail::autocasts(x) &&
                    (!then.residual.defined() || (then.residual.dtype() == x.dtype() && x.dtype() == weight.dtype())) &&
                    (!then.scale.defined() || (then.scale.dtype() == x.dtype() && then.scale.is_contiguous()));
  FusedProduct fused{.activation = then.activation, .packed = packed.for_product(x, weight)};
  if (fits) {
    fused.residual = detail::contiguous_copy(then.residual);
    fused.scale = then.scale;
  }
  Tensor y = linear(x, weight, bias, fused);
  return fits ? y : add_scaled(then.residual, std::move(y), then.scale);
}

ATLAS_INLINE Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
                           const PackedWeight& packed, const Epilogue& then) {
  const bool depthwise = options.groups > 1 && weight.dim() == 4 && weight.size(3) == 1 &&
                         weight.size(0) == options.groups;  // whose kernel fuses nothing
  const bool fits = detail::inference_mode() && x.dim() == 4 && !depthwise && !then.scale.defined();
  if (!fits) {
    packed.forget();
    return add_scaled(then.residual, activate(conv2d(x, weight, bias, options), then.activation), then.scale);
  }
  return conv2d(x, weight, bias, options,
                {.activation = then.activation,
                 .residual = detail::contiguous_copy(then.residual),
                 .packed = packed.for_convolution(x, weight, options)});
}

ATLAS_INLINE Tensor mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const PackedWeight& packed1,
                        const Tensor& w2, const Tensor& b2, const PackedWeight& packed2) {
  if (detail::inference_mode())
    return linear(linear(x, w1, b1, packed1, {.activation = Activation::gelu}), w2, b2, packed2, {});
  packed1.forget();
  packed2.forget();
  return mlp(x, w1, b1, w2, b2);
}

}  // namespace atlas::inline ATLAS_ABI
