// Convolution layers on channels-last tensors. Their weights are channels-last too; files hold them channels-first.
#pragma once

#include "atlas/nn/init.h"
#include "atlas/nn/module.h"
#include "atlas/ops/fuse.h"

namespace atlas::inline ATLAS_ABI {

/// Two-dimensional convolution.   x: [B, H, W, in] -> y: [B, OH, OW, out]
///
/// Starts uniform in ±1/√fan_in. The weight is [out, KH, KW, in / groups] here and [out, in / groups, KH, KW] in a
/// state dict.
class Conv2d : public Module {
 public:
  /// @param in, out    channels, multiples of options.groups
  /// @param kernel     side of the square kernel
  // Options come by reference: g++ 12 with AVX-512 may store a padding of 1 for default ones that come by value.
  Conv2d(int64_t in, int64_t out, int64_t kernel, const Conv2dOptions& options = {}, bool with_bias = true)
      : options_(options) {
    detail::check_size("Conv2d", "in", in);
    detail::check_size("Conv2d", "out", out);
    detail::check_size("Conv2d", "kernel", kernel);
    detail::check_size("Conv2d", "groups", options.groups);
    check(in % options.groups == 0 && out % options.groups == 0, "Conv2d",
          "channels {} -> {} are not multiples of {} groups", in, out, options.groups);
    weight = empty({out, kernel, kernel, in / options.groups});
    register_parameter("weight", weight, Layout::conv2d);
    if (with_bias) {
      bias = empty({out});
      register_parameter("bias", bias);
    }
    detail::default_init(weight, bias, Layout::conv2d);
  }
  Tensor forward(const Tensor& x) const override { return conv2d(x, weight, bias, options_, packed_, {}); }

  const Conv2dOptions& options() const { return options_; }
  Tensor weight, bias;  // [out, KH, KW, in / groups], [out] (undefined without bias)

 private:
  Conv2dOptions options_;
  PackedWeight packed_;
};

/// Depthwise convolution along tokens with as many outputs as inputs ("same" padding).   x: [B, L, C] -> y: [B, L, C]
///
/// The weight is [K, C] here and [C, 1, K] in a state dict.
class DepthwiseConv1d : public Module {
 public:
  DepthwiseConv1d(int64_t channels, int64_t kernel, bool with_bias = true) {
    detail::check_size("DepthwiseConv1d", "channels", channels);
    detail::check_size("DepthwiseConv1d", "kernel", kernel);
    weight = empty({kernel, channels});
    register_parameter("weight", weight, Layout::conv1d_depthwise);
    if (with_bias) {
      bias = empty({channels});
      register_parameter("bias", bias);
    }
    detail::default_init(weight, bias, Layout::conv1d_depthwise);
  }
  Tensor forward(const Tensor& x) const override { return conv1d_depthwise(x, weight, bias); }

  Tensor weight, bias;  // [K, C], [C] (undefined without bias)
};

}  // namespace atlas::inline ATLAS_ABI
