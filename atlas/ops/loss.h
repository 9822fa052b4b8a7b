// Losses: cross entropy, fused with log-softmax, and its composite of plain ops for comparison; mean squared error, L1,
// smooth L1, binary cross entropy.
#pragma once

#include <cstdint>
#include <limits>

#include "atlas/ops/softmax.h"

namespace atlas::inline ATLAS_ABI {

/// What becomes of the losses of single elements.
enum class Reduction { none, mean, sum };

/// As ignore_index: no class is ignored.
inline constexpr int64_t kNoClass = std::numeric_limits<int64_t>::min();

/// How cross_entropy() counts: `cross_entropy(logits, labels, {.ignore_index = 255})`.
struct CrossEntropyOptions {
  double label_smoothing = 0;             ///< e in [0, 1]
  int64_t ignore_index = kNoClass;        ///< rows of this class, in range or not, have a loss and a gradient of 0
  Tensor weight{};                        ///< of each class, [C], of the dtype of logits; undefined: 1
  Reduction reduction = Reduction::mean;  ///< the mean divides by the sum of the weights of the rows' classes
};

/// Cross entropy of rows of logits, along the last axis.
///
/// loss_r = -sum_c w_c t_rc log softmax(logits_r)_c, with t = (1 - e) target + e / C for the label smoothing e; a class
/// number stands for the one-hot row. The mean over class numbers is sum_r loss_r / sum_r w_(class of r), over rows
/// that are not ignored (NaN when all are, as in PyTorch); over probabilities, it is the sum over the number of rows.
/// @param logits   float32 or float64 [..., C], C at least 1: [B, C], or a map [B, H, W, C]
/// @param target   int64 [...] with values in [0, C), or class probabilities [..., C] of the dtype of logits
/// @param options  label smoothing, an ignored class (for class numbers), class weights, reduction
/// @return a scalar (no axes); [...] without reduction
/// @throws Error for shapes that do not fit, the mean over no row, and a class outside [0, C) (names its row and
/// value). Label smoothing: Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7.
ATLAS_INLINE Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options);
/// Mean cross entropy with nothing but label smoothing.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, double label_smoothing = 0);

/// cross_entropy from plain ops.
ATLAS_INLINE Tensor cross_entropy_reference(const Tensor& logits, const Tensor& target,
                                            const CrossEntropyOptions& options);
Tensor cross_entropy_reference(const Tensor& logits, const Tensor& target, double label_smoothing = 0);

/// (x - y)^2, reduced.
/// @param x,y  float32 or float64, of one shape: losses do not broadcast, since that is a mistake nearly always
/// @return a scalar; x's shape without reduction
/// @throws Error when shapes or dtypes differ, and for the mean over nothing; so do all losses below
ATLAS_INLINE Tensor mse_loss(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean);

/// |x - y|, reduced.
ATLAS_INLINE Tensor l1_loss(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean);

/// With d = |x - y|: d^2 / (2 beta) where d < beta, d - beta / 2 elsewhere, reduced (Girshick, "Fast R-CNN", 2015).
/// @param beta  at least 0, which is l1_loss
ATLAS_INLINE Tensor smooth_l1_loss(const Tensor& x, const Tensor& y, double beta = 1,
                                   Reduction reduction = Reduction::mean);

/// How bce_with_logits() counts.
struct BceOptions {
  Tensor weight{};      ///< of each element: broadcasts to the shape of the logits; undefined: 1
  Tensor pos_weight{};  ///< of what is positive, p below: broadcasts likewise; undefined: 1
  Reduction reduction = Reduction::mean;
};

/// Binary cross entropy of sigmoid(x), from logits: -w (p t log sigmoid(x) + (1 - t) log(1 - sigmoid(x))), reduced.
/// @param x  logits, float32 or float64
/// @param t  targets in [0, 1], of x's shape and dtype
ATLAS_INLINE Tensor bce_with_logits(const Tensor& x, const Tensor& t, const BceOptions& options = {});

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/loss-inl.h"
#endif
