// Body of ops/conv_transpose.h.
#pragma once

#include <tuple>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/node.h"
#include "atlas/kernels/conv.h"
#include "atlas/ops/conv-inl.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/conv_transpose.h"
#include "atlas/ops/matmul.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// The convolution whose gradient this is: it makes x's shape from y's.
inline Conv2dShape conv_transpose2d_shape(const Tensor& x, const Tensor& weight, const ConvTranspose2dOptions& o) {
  const char* op = "conv_transpose2d";
  check(x.defined() && x.dim() == 4, op, "needs x[B,H,W,I], got {}", describe(x));
  check(weight.defined() && weight.dim() == 4, op, "needs weight[I,KH,KW,O/groups], got {}", describe(weight));
  check_float(x, op);
  check_same_kind(x, weight, op, "x", "weight");
  check(x.size(3) == weight.size(0), op, "input channels differ: x {} axis 3 = {}, weight {} axis 0 = {}{}",
        describe(x), x.size(3), describe(weight), weight.size(0),
        x.size(1) == weight.size(0) ? " (x must be channels-last: [B,H,W,I])" : "");
  check(o.groups >= 1 && x.size(3) % o.groups == 0, op, "{} input channels do not divide into {} groups", x.size(3),
        o.groups);
  Conv2dShape s;
  s.batch = x.size(0);
  s.in_channels = weight.size(3) * o.groups;
  s.out_channels = x.size(3);
  s.groups = o.groups;
  s.stride = o.stride;
  s.padding = o.padding;
  s.dilation = o.dilation;
  constexpr int64_t kMostFactor = 1 << 20, kMostPadding = int64_t{1} << 40;  // sums of products stay inside 64 bits
  for (size_t i = 0; i < 2; ++i) {
    const int axis = static_cast<int>(i) + 1;
    s.out[i] = x.size(axis);
    s.kernel[i] = weight.size(axis);
    check(o.stride[i] >= 1 && o.dilation[i] >= 1 && o.padding[i] >= 0 && o.output_padding[i] >= 0, op,
          "needs stride >= 1, dilation >= 1, padding >= 0 and output_padding >= 0, got {}, {}, {} and {} along axis {}",
          o.stride[i], o.dilation[i], o.padding[i], o.output_padding[i], axis);
    for (const auto& [what, length, most] : {std::tuple{"stride", o.stride[i], kMostFactor},
                                             {"dilation", o.dilation[i], kMostFactor},
                                             {"padding", o.padding[i], kMostPadding},
                                             {"the length of x", s.out[i], kMostFactor},
                                             {"the length of weight", s.kernel[i], kMostFactor}})
      check(length < most, op, "{} is too large along axis {}: {}, needs less than {}", what, axis, length, most);
    check(o.output_padding[i] < std::max(o.stride[i], o.dilation[i]), op,
          "output_padding {} must be smaller than stride {} or dilation {} (axis {})", o.output_padding[i], o.stride[i],
          o.dilation[i], axis);
    check(s.kernel[i] >= 1 && s.out[i] >= 1, op, "x {} has no pixels or weight {} no taps along axis {}", describe(x),
          describe(weight), axis);
    s.in[i] =
        (s.out[i] - 1) * o.stride[i] - 2 * o.padding[i] + o.dilation[i] * (s.kernel[i] - 1) + o.output_padding[i] + 1;
    check(s.in[i] >= 1, op, "padding {} leaves nothing along axis {}: x {}, weight {} give a length of {}",
          o.padding[i], axis, describe(x), describe(weight), s.in[i]);
  }
  return s;
}

/// Weights [C, KH, KW, 1] tap by tap, as the kernels for one filter per channel read them.
inline Tensor taps_of(const Tensor& weight, const Conv2dShape& s) {
  return copy_of(swap_last_axes(as_matrix(contiguous_copy(weight), s.in_channels, s.kernel[0] * s.kernel[1])));
}

}  // namespace detail

ATLAS_INLINE Tensor conv_transpose2d(const Tensor& given, const Tensor& weight, const Tensor& bias,
                                     const ConvTranspose2dOptions& options) {
  const char* op = "conv_transpose2d";
  const bool narrowed = given.defined() && detail::autocasts(given);
  const Tensor x = narrowed ? detail::narrow(given) : given;
  const detail::Filters f(weight, bias, narrowed);
  const Conv2dShape s = detail::conv_transpose2d_shape(x, f.w, options);
  detail::check_bias(f.b, x, s.in_channels, op);
  const Tensor in = detail::contiguous_copy(x);
  const Tensor w = s.depthwise() ? detail::taps_of(f.w, s) : detail::contiguous_copy(f.w);
  Tensor y = empty({s.batch, s.in[0], s.in[1], s.in_channels}, x.dtype(), x.device());
  if (y.numel() > 0) {
    if (s.depthwise())
      kernels::depthwise_backward_input(in, w, y, s);
    else
      kernels::conv2d_backward_input(in, w, y, s);
    if (f.b.defined()) add_elements(y, f.b, 1);
  }
  const bool need_x = x.requires_grad(), need_w = weight.requires_grad(), need_b = bias.requires_grad();
  return record(op, y, {x, weight, bias},
                [sx = Saved(need_w ? in : Tensor(), op), sw = Saved(need_x ? w : Tensor(), op), need_x, need_w, need_b,
                 s, shape_w = weight.shape(), dtype = weight.dtype()](const Tensor& dy) {
                  const Tensor g = detail::contiguous_copy(dy);
                  Grads grads(3);
                  if (need_x) {  // dx = dy convolved with the filters
                    grads[0] = empty({s.batch, s.out[0], s.out[1], s.out_channels}, g.dtype(), g.device());
                    if (g.numel() > 0 && s.depthwise())
                      kernels::depthwise_forward(g, sw(), {}, grads[0], s);
                    else if (g.numel() > 0)
                      kernels::conv2d_forward(g, sw(), {}, grads[0], s, {});
                  }
                  if (need_w && g.numel() == 0) {
                    grads[1] = empty(shape_w, dtype, g.device()).fill_(0);
                  } else if (need_w && s.depthwise()) {
                    Tensor dtaps = empty({s.kernel[0] * s.kernel[1], s.in_channels}, dtype, g.device());
                    kernels::depthwise_backward_weight(g, sx(), dtaps, s);
                    const Tensor dw = copy_of(detail::swap_last_axes(dtaps));
                    grads[1] = raw_view(dw, shape_w, contiguous_strides(shape_w), 0);
                  } else if (need_w) {  // dW[i,k,o] = sum over pixels of x[pixel,i] dy[pixel at tap k,o]
                    grads[1] = empty(shape_w, dtype, g.device());
                    kernels::conv2d_backward_weight(g, sx(), grads[1], s);
                  }
                  if (need_b) grads[2] = detail::bias_gradient(g, dtype);
                  return grads;
                });
}

}  // namespace atlas::inline ATLAS_ABI
