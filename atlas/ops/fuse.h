// Products and convolutions of layers, with what follows them: as one kernel where the backend can and nothing is
// recorded, as ops one after another elsewhere. Weights are kept in the order in which kernels read them.
#pragma once

#include "atlas/kernels/gemm_epilogue.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/derived.h"

namespace atlas::inline ATLAS_ABI {

/// What a layer does with its product: y = activation(.) scale + residual.
struct Epilogue {
  Activation activation = Activation::none;
  Tensor residual{};  ///< of the shape of y, or undefined
  Tensor scale{};     ///< [C], or undefined for ones
};

/// A layer's weight as kernels read it, kept from its second use in inference on, while nothing changes. A member of
/// the layer.
class PackedWeight {
 public:
  /// For linear() of x [..., in] and weight [out, in]; undefined where it would not show.
  Tensor for_product(const Tensor& x, const Tensor& weight) const;
  /// For conv2d(); undefined where it would not show.
  Tensor for_convolution(const Tensor& x, const Tensor& weight, const Conv2dOptions& options) const;
  /// Lets go of it.
  void forget() const { packed_.clear(); }

 private:
  Derived<Tensor> packed_{Derived<Tensor>::Keep::at_second_use};
};

/// linear(x, weight, bias) and what follows.   x: [..., in] -> y: [..., out]
/// @throws Error like linear(), and when residual or scale do not fit.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const PackedWeight& packed,
              const Epilogue& then);

/// conv2d(x, weight, bias, options) and what follows.   x: [B, H, W, in] -> y: [B, OH, OW, out]
/// @throws Error like conv2d(), and when residual or scale do not fit.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
              const PackedWeight& packed, const Epilogue& then);

/// mlp() of two linear layers: what it is made of in inference, and recorded as one op otherwise.
Tensor mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const PackedWeight& packed1, const Tensor& w2,
           const Tensor& b2, const PackedWeight& packed2);

/// y scale + residual, without what is undefined.
Tensor add_scaled(const Tensor& residual, Tensor y, const Tensor& scale);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/fuse-inl.h"
#endif
