// ConvNorm: a convolution and the batch norm after it, one convolution in inference.
#pragma once

#include "atlas/nn/conv.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/derived.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

/// y = norm(conv(x)), where norm's running statistics and weights are folded into the filters when nothing is trained:
/// with s = weight_n / √(var + eps), the filters are s W and the bias is s (b - mean) + bias_n.
///
/// Not a module: it owns no parameters, and the two layers keep their names. They must outlive it.
class ConvNorm {
 public:
  ConvNorm(const Conv2d& conv, const BatchNorm2d& norm) : conv_(conv), norm_(norm) {
    check(conv.weight.size(0) == norm.weight.size(0), "ConvNorm",
          "{} channels of the convolution, {} of the batch norm", conv.weight.size(0), norm.weight.size(0));
  }
  /// activation(norm(conv(x))) + residual.   x: [B, H, W, in] -> y: [B, OH, OW, out]
  /// @param residual  of the shape of y, or undefined
  Tensor operator()(const Tensor& x, Activation activation = Activation::none, const Tensor& residual = {}) const {
    const auto apart = [&] {
      folded_.clear();
      packed_.forget();
      return add_scaled(residual, norm_.activated(conv_(x), activation), {});
    };
    if (norm_.training()) return apart();  // statistics of this batch are not there before it
    return detail::joined_in_inference(
        [&] {
          const Folded f =
              folded_.get({conv_.weight, conv_.bias, norm_.weight, norm_.bias, norm_.running_mean, norm_.running_var},
                          [&] { return fold(); });
          return conv2d(x, f.weight, f.bias, conv_.options(), packed_,
                        {.activation = activation, .residual = residual});
        },
        apart);
  }

 private:
  struct Folded {
    Tensor weight, bias;
  };
  Folded fold() const {  // in float64: weights are few, and rounding them twice would show in the logits
    const auto wide = [](const Tensor& t) { return t.detach().to(float64); };
    const Tensor scale = wide(norm_.weight) * rsqrt(wide(norm_.running_var) + norm_.eps());
    Tensor shift = neg(wide(norm_.running_mean));
    if (conv_.bias.defined()) shift = shift + wide(conv_.bias);
    shift = shift * scale + wide(norm_.bias);
    const Tensor weight = wide(conv_.weight) * scale.reshape({scale.size(0), 1, 1, 1});
    return {weight.to(conv_.weight.dtype()), shift.to(conv_.weight.dtype())};
  }

  const Conv2d& conv_;
  const BatchNorm2d& norm_;
  Derived<Folded> folded_;
  PackedWeight packed_;
};

}  // namespace atlas::inline ATLAS_ABI
