// Element-wise functions of one tensor.
#pragma once

#include "atlas/kernels/gemm_epilogue.h"

namespace atlas::inline ATLAS_ABI {

/// y = e^x.
/// @param x  any shape, float32 or float64, as in all functions of this file unless they say otherwise
/// @return a tensor of x's shape and dtype
/// @throws Error for other dtypes
Tensor exp(const Tensor& x);

/// y = ln x; -inf at 0, NaN below.   dx = dy / x
Tensor log(const Tensor& x);

/// y = sqrt(x); NaN below 0.   dx = dy / (2 y)
Tensor sqrt(const Tensor& x);

/// y = 1 / sqrt(x).   dx = -dy y^3 / 2
Tensor rsqrt(const Tensor& x);

/// y = |x|; also int64 and uint8.   dx = dy sign(x), 0 at 0
Tensor abs(const Tensor& x);

/// y = -x; also int64 and uint8 (which wraps).
Tensor neg(const Tensor& x);

/// y = x^2; also int64 and uint8 (which wraps).   dx = 2 x dy
Tensor square(const Tensor& x);

/// y = x^p.   dx = p x^(p-1) dy
/// @param x  also int64 and uint8, for a whole p from 0 on; what is too large wraps, as in all arithmetic of integers.
///           ops/arithmetic.h has pow of two tensors
/// @param p  any number; 2, 1/2, -1/2 and -1 have faster code. x below 0 needs a whole p, or gives NaN
/// @throws Error for integers and a p below 0, or one that is not whole
Tensor pow(const Tensor& x, double p);

/// y = erf(x), the error function.   dx = dy 2 / sqrt(pi) e^(-x^2)
Tensor erf(const Tensor& x);

/// y = tanh(x).   dx = dy (1 - y^2)
Tensor tanh(const Tensor& x);

/// y = 1 / (1 + e^(-x)).   dx = dy y (1 - y)
Tensor sigmoid(const Tensor& x);

/// y = max(x, 0); also int64 and uint8.   dx = dy where x > 0
Tensor relu(const Tensor& x);
/// relu of a tensor that is given up: in its memory when nothing is recorded and nobody else holds it.
Tensor relu(Tensor&& x);

/// y = x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, "Gaussian error linear units", exact
/// form).
Tensor gelu(const Tensor& x);
/// gelu of a tensor that is given up: in its memory when nothing is recorded and nobody else holds it.
Tensor gelu(Tensor&& x);

/// The approximation of gelu by tanh: y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
Tensor gelu_tanh(const Tensor& x);
/// gelu_tanh of a tensor that is given up: in its memory when nothing is recorded and nobody else holds it.
Tensor gelu_tanh(Tensor&& x);

/// y = x sigmoid(x), also called swish.
Tensor silu(const Tensor& x);
/// silu of a tensor that is given up: in its memory when nothing is recorded and nobody else holds it.
Tensor silu(Tensor&& x);

/// The function of that name.
Tensor activate(const Tensor& x, Activation activation);

/// y = log(1 + e^x), without overflow for large x.   dx = dy sigmoid(x)
Tensor softplus(const Tensor& x);

/// y = x rounded down; like ceil, round and sign also of int64 and uint8, with a gradient of 0.
Tensor floor(const Tensor& x);
/// y = x rounded up.
Tensor ceil(const Tensor& x);
/// y = the nearest whole number, the even one for halves.
Tensor round(const Tensor& x);
/// y = -1, 0 or 1; 0 for NaN.
Tensor sign(const Tensor& x);

/// y = sin x, x in radians.   dx = dy cos x
Tensor sin(const Tensor& x);
/// y = cos x, x in radians.   dx = -dy sin x
Tensor cos(const Tensor& x);

namespace detail {

/// clamp() under the name of the op that asks.
Tensor clamped(const char* op, const Tensor& x, double lo, double hi);

}  // namespace detail

/// y = min(max(x, lo), hi), so that hi counts where lo > hi; also int64 and uint8.   dx = dy where lo <= x <= hi
/// @param lo,hi  an infinity leaves that side open
/// @throws Error when one of them is NaN, or no whole number for integers
Tensor clamp(const Tensor& x, double lo, double hi);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/unary-inl.h"
#endif
