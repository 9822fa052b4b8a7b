// ConvTranspose2d: upsampling with learned filters.
#pragma once

#include "atlas/nn/init.h"
#include "atlas/nn/module.h"
#include "atlas/ops/conv_transpose.h"

namespace atlas::inline ATLAS_ABI {

/// Transposed convolution.   x: [B, H, W, in] -> y: [B, OH, OW, out]
///
/// The weight is [in, KH, KW, out / groups] here and [in, out / groups, KH, KW] in a state dict.
class ConvTranspose2d : public Module {
 public:
  /// @param kernel  side of the square kernel
  ConvTranspose2d(int64_t in, int64_t out, int64_t kernel, ConvTranspose2dOptions options = {}, bool with_bias = true)
      : options_(options) {
    detail::check_size("ConvTranspose2d", "in", in);
    detail::check_size("ConvTranspose2d", "out", out);
    detail::check_size("ConvTranspose2d", "kernel", kernel);
    detail::check_size("ConvTranspose2d", "groups", options.groups);
    check(in % options.groups == 0 && out % options.groups == 0, "ConvTranspose2d",
          "channels {} -> {} are not multiples of {} groups", in, out, options.groups);
    weight = empty({in, kernel, kernel, out / options.groups});
    register_parameter("weight", weight, Layout::conv2d);
    if (with_bias) {
      bias = empty({out});
      register_parameter("bias", bias);
    }
    detail::default_init(weight, bias, Layout::conv2d);
  }
  Tensor forward(const Tensor& x) const override { return conv_transpose2d(x, weight, bias, options_); }

  Tensor weight, bias;  // [in, KH, KW, out / groups], [out] (undefined without bias)

 private:
  ConvTranspose2dOptions options_;
};

}  // namespace atlas::inline ATLAS_ABI
