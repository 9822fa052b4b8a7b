// Bodies of conv.h.
#pragma once

#include <algorithm>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/node.h"
#include "atlas/kernels/conv.h"
#include "atlas/kernels/gemm.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/matmul.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE Tensor contiguous_copy(const Tensor& t) { return !t.defined() || t.is_contiguous() ? t : copy_of(t); }

ATLAS_INLINE void check_bias(const Tensor& bias, const Tensor& x, int64_t channels, const char* op) {
  if (!bias.defined()) return;
  check_same_kind(x, bias, op, "x", "bias");
  check(bias.dim() == 1 && bias.size(0) == channels, op, "bias {} does not fit {} output channels (needs [{}])",
        describe(bias), channels, channels);
}

ATLAS_INLINE Conv2dShape conv2d_shape(const Tensor& x, const Tensor& weight, const Conv2dOptions& o) {
  check(x.dim() == 4, "conv2d", "needs x[B,H,W,I], got {}", describe(x));
  check(weight.dim() == 4, "conv2d", "needs weight[O,KH,KW,I/groups], got {}", describe(weight));
  check_same_kind(x, weight, "conv2d", "x", "weight");
  check(o.groups >= 1, "conv2d", "groups must be at least 1, got {}", o.groups);
  int64_t inputs = 0;
  check(!__builtin_mul_overflow(weight.size(3), o.groups, &inputs), "conv2d",
        "{} groups of the {} channels of weight {} overflow 64 bits", o.groups, weight.size(3), describe(weight));
  check(x.size(3) == inputs, "conv2d",
        "input channels differ: x {} axis 3 = {}, weight {} axis 3 = {} times {} groups = {}{}", describe(x), x.size(3),
        describe(weight), weight.size(3), o.groups, inputs,
        x.size(1) == inputs ? " (x must be channels-last: [B,H,W,I])" : "");
  check(weight.size(0) % o.groups == 0, "conv2d", "{} output channels (weight {} axis 0) do not divide into {} groups",
        weight.size(0), describe(weight), o.groups);
  Conv2dShape s;
  s.batch = x.size(0);
  s.in_channels = x.size(3);
  s.out_channels = weight.size(0);
  s.groups = o.groups;
  s.stride = o.stride;
  s.padding = o.padding;
  s.dilation = o.dilation;
  for (size_t i = 0; i < 2; ++i) {
    const int axis = static_cast<int>(i) + 1;
    s.in[i] = x.size(axis);
    s.kernel[i] = weight.size(axis);
    check(o.stride[i] >= 1 && o.dilation[i] >= 1 && o.padding[i] >= 0, "conv2d",
          "needs stride >= 1, dilation >= 1 and padding >= 0, got stride {}, dilation {}, padding {} along axis {}",
          o.stride[i], o.dilation[i], o.padding[i], axis);
    check(s.kernel[i] >= 1, "conv2d", "weight {} has no taps along axis {}", describe(weight), axis);
    int64_t padded = 0, extent = 0;
    check(!__builtin_mul_overflow(o.padding[i], int64_t{2}, &padded) &&
              !__builtin_add_overflow(padded, s.in[i], &padded) &&
              !__builtin_mul_overflow(s.kernel[i] - 1, o.dilation[i], &extent),
          "conv2d", "padding {} or dilation {} along axis {} overflows 64 bits", o.padding[i], o.dilation[i], axis);
    check(extent < padded, "conv2d",
          "the kernel is larger than the input along axis {}: x {} has {} (with padding {}: {}), weight {} spans {} "
          "(dilation {})",
          axis, describe(x), s.in[i], o.padding[i], padded, describe(weight), extent + 1, o.dilation[i]);
    s.out[i] = (padded - extent - 1) / o.stride[i] + 1;
  }
  return s;
}

ATLAS_INLINE Tensor bias_gradient(const Tensor& dy, DType dtype) {
  Tensor db = empty({dy.size(-1)}, dtype, dy.device());
  kernels::column_sums(rows_view(dy), db);
  return db;
}

ATLAS_INLINE Tensor as_matrix(const Tensor& t, int64_t rows, int64_t columns) {
  return raw_view(t, {rows, columns}, {columns, 1}, t.offset());
}

/// Filters and bias of a convolution: the parameters, and the same as the kernels read them, in x's type.
struct Filters {
  Tensor weight, bias, w, b;
  Filters(const Tensor& weight_given, const Tensor& bias_given, bool narrowed)
      : weight(weight_given),
        bias(bias_given),
        w(narrowed ? narrow_weight(weight) : weight),
        b(narrowed ? narrow_weight(bias) : bias) {}
};

/// conv2d with one filter per channel, given [C, KH * KW] weights; the kernels want them tap by tap.
inline Tensor depthwise_conv2d(const Tensor& x, const Filters& f, const Conv2dShape& s) {
  const int64_t channels = s.in_channels, count = s.kernel[0] * s.kernel[1];
  const Tensor in = contiguous_copy(x);
  const Tensor taps = copy_of(swap_last_axes(as_matrix(contiguous_copy(f.w), channels, count)));
  Tensor y = empty({s.batch, s.out[0], s.out[1], channels}, x.dtype(), x.device());
  kernels::depthwise_forward(in, taps, contiguous_copy(f.b), y, s);
  const bool need_x = x.requires_grad(), need_w = f.weight.requires_grad(), need_b = f.bias.requires_grad();
  return record(
      "conv2d", y, {x, f.weight, f.bias},
      [sx = Saved(need_w ? in : Tensor(), "conv2d"), sw = Saved(need_x ? taps : Tensor(), "conv2d"), need_x, need_w,
       need_b, s, shape_w = f.weight.shape(), channels, count, dtype = f.weight.dtype()](const Tensor& dy) {
        const Tensor g = contiguous_copy(dy);
        Grads grads(3);
        if (need_x) {
          grads[0] = empty({s.batch, s.in[0], s.in[1], channels}, g.dtype(), g.device());
          kernels::depthwise_backward_input(g, sw(), grads[0], s);
        }
        if (need_w) {
          Tensor dtaps = empty({count, channels}, dtype, g.device());
          kernels::depthwise_backward_weight(sx(), g, dtaps, s);
          const Tensor dw = copy_of(swap_last_axes(dtaps));
          grads[1] = raw_view(dw, shape_w, contiguous_strides(shape_w), 0);
        }
        if (need_b) grads[2] = bias_gradient(g, dtype);
        return grads;
      });
}

}  // namespace detail

ATLAS_INLINE Tensor conv2d(const Tensor& given, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
                           const Fused& fused_given) {
  const bool narrowed = detail::autocasts(given);
  const Tensor x = narrowed ? detail::narrow(given) : given;
  const detail::Filters f(weight, bias, narrowed);
  const Fused fused = narrowed ? detail::fused_as(fused_given, bfloat16) : fused_given;
  const Conv2dShape s = detail::conv2d_shape(x, f.w, options);
  detail::check_bias(f.b, x, s.out_channels, "conv2d");
  check(!s.depthwise() || fused.empty(), "conv2d", "nothing can be fused with one filter per channel");
  if (s.depthwise()) return detail::depthwise_conv2d(x, f, s);
  const Tensor in = detail::contiguous_copy(x), w = detail::contiguous_copy(f.w);
  Tensor y = empty({s.batch, s.out[0], s.out[1], s.out_channels}, x.dtype(), x.device());
  detail::check_fused(fused, y, "conv2d");
  kernels::conv2d_forward(in, w, detail::contiguous_copy(f.b), y, s, fused);
  if (!fused.empty()) return y;
  const bool need_x = x.requires_grad(), need_w = weight.requires_grad(), need_b = bias.requires_grad();
  return record("conv2d", y, {x, weight, bias},
                [sx = Saved(need_w ? in : Tensor(), "conv2d"), sw = Saved(need_x ? w : Tensor(), "conv2d"), need_x,
                 need_w, need_b, s, shape_w = weight.shape(), dtype = weight.dtype()](const Tensor& dy) {
                  const Tensor g = detail::contiguous_copy(dy);
                  Grads grads(3);
                  if (need_x) {  // dx = dy convolved with the flipped filters
                    grads[0] = empty({s.batch, s.in[0], s.in[1], s.in_channels}, g.dtype(), g.device());
                    kernels::conv2d_backward_input(g, sw(), grads[0], s);
                  }
                  if (need_w) {  // dW[o,k] = sum over pixels of dy[pixel,o] x[pixel at tap k]
                    grads[1] = empty(shape_w, dtype, g.device());
                    kernels::conv2d_backward_weight(sx(), g, grads[1], s);
                  }
                  if (need_b) grads[2] = detail::bias_gradient(g, dtype);
                  return grads;
                });
}

ATLAS_INLINE Tensor conv1d_depthwise(const Tensor& given, const Tensor& weight, const Tensor& bias) {
  const bool narrowed = detail::autocasts(given);
  const Tensor x = narrowed ? detail::narrow(given) : given;
  const detail::Filters f(weight, bias, narrowed);
  check(x.dim() == 3, "conv1d_depthwise", "needs x[B,L,C], got {}", describe(x));
  check(weight.dim() == 2 && weight.size(0) >= 1, "conv1d_depthwise", "needs weight[K,C] with K >= 1, got {}",
        describe(weight));
  detail::check_same_kind(x, f.w, "conv1d_depthwise", "x", "weight");
  const int64_t channels = x.size(2);
  check(weight.size(1) == channels, "conv1d_depthwise", "channels differ: x {} axis 2 = {}, weight {} axis 1 = {}{}",
        describe(x), channels, describe(weight), weight.size(1),
        weight.size(0) == channels ? " (weight is [K,C]: transpose it?)" : "");
  detail::check_bias(f.b, x, channels, "conv1d_depthwise");
  Conv2dShape s;
  s.batch = x.size(0);
  s.in_channels = s.out_channels = channels;
  s.groups = std::max<int64_t>(channels, 1);  // lengths of one group are quotients
  s.in = s.out = {1, x.size(1)};
  s.kernel = {1, weight.size(0)};
  s.padding = {0, (weight.size(0) - 1) / 2};

  const auto as_image = [](const Tensor& t) {  // [B,L,C] -> [B,1,L,C]
    const Tensor u = t.size(2) > 1 && t.strides()[2] != 1 ? copy_of(t) : t;
    return raw_view(u, {u.size(0), 1, u.size(1), u.size(2)}, {u.strides()[0], 0, u.strides()[1], 1}, u.offset());
  };
  const Tensor in = as_image(x), taps = detail::contiguous_copy(f.w);
  Tensor y = empty(x.shape(), x.dtype(), x.device());
  Tensor image = as_image(y);
  kernels::depthwise_forward(in, taps, detail::contiguous_copy(f.b), image, s);
  const bool need_x = x.requires_grad(), need_w = weight.requires_grad(), need_b = bias.requires_grad();
  return record(
      "conv1d_depthwise", y, {x, weight, bias},
      [sx = Saved(need_w ? in : Tensor(), "conv1d_depthwise"), sw = Saved(need_x ? taps : Tensor(), "conv1d_depthwise"),
       need_x, need_w, need_b, s, shape = x.shape(), as_image, dtype = weight.dtype()](const Tensor& dy) {
        const Tensor g = as_image(dy);
        Grads grads(3);
        if (need_x) {
          grads[0] = empty(shape, g.dtype(), g.device());
          Tensor dx = as_image(grads[0]);
          kernels::depthwise_backward_input(g, sw(), dx, s);
        }
        if (need_w) {
          grads[1] = empty({s.kernel[1], s.in_channels}, dtype, g.device());
          kernels::depthwise_backward_weight(sx(), g, grads[1], s);
        }
        if (need_b) grads[2] = detail::bias_gradient(dy, dtype);
        return grads;
      });
}

}  // namespace atlas::inline ATLAS_ABI
