// Dropout of elements and of whole samples (stochastic depth). Masks are recomputed in backward, not stored.
#pragma once

#include "atlas/kernels/dropout.h"

namespace atlas::inline ATLAS_ABI {

/// Zeroes each element with probability p and scales the others by 1 / (1 - p); the identity when not training.
/// @param x         float32 or float64, any shape
/// @param p         in [0, 1]; p = 1 gives zeros
/// @param training  false returns x itself
/// @param g         source of random numbers; one stream is drawn, none when nothing is dropped
/// @return x's shape
/// @throws Error for p outside [0, 1].
/// Srivastava et al., "Dropout", 2014.
Tensor dropout(const Tensor& x, double p, bool training, Generator& g = default_generator());

/// Zeroes each sample (row of axis 0) with probability p and scales the others by 1 / (1 - p); the identity when not
/// training.
/// @param x         float32 or float64 [B, ...]
/// @param p         in [0, 1]; p = 1 gives zeros
/// @param training  false returns x itself
/// @param g         source of random numbers; one stream is drawn, none when nothing is dropped
/// @return x's shape
/// @throws Error for p outside [0, 1] and for a tensor without axes.
/// Huang et al., "Deep Networks with Stochastic Depth", 2016.
Tensor drop_path(const Tensor& x, double p, bool training, Generator& g = default_generator());

/// dropout or drop_path from plain ops, with a given mask: x mask / (1 - p).
/// @param mask  zeros and ones of x's dtype, broadcast to x
Tensor dropout_reference(const Tensor& x, const Tensor& mask, double p);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/dropout-inl.h"
#endif
