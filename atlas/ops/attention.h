// Scaled dot product attention as one op, over the keys and values of one or several sources.
#pragma once

#include <functional>
#include <vector>

#include "atlas/kernels/attention.h"
#include "atlas/ops/watch.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// Sees what every attention() on this thread is given, while set (see AttentionRecorder).
using AttentionObserver = std::function<void(const Tensor& q, const std::vector<KeyValue>& sources)>;
inline const AttentionObserver*& attention_observer() {
  thread_local const AttentionObserver* observer = nullptr;
  return observer;
}

/// joined_unless_watched(), where who watches attention counts as well.
template <class Together, class Apart>
Tensor joined_unless_attention_watched(const Together& together, const Apart& apart) {
  return attention_observer() == nullptr ? joined_unless_watched(together, apart) : apart();
}

void check_attention(const Tensor& q, const std::vector<KeyValue>& sources);

double attention_scale(const Tensor& q, double scale);

}  // namespace detail

/// Scaled dot product attention over several sources (Vaswani et al., "Attention is all you need", 2017, eq. 1):
/// y[b,l,h] = sum over all keys j of softmax_j(scale q[b,l,h] . k[j,h]) v[j,h].
///
/// The keys of the sources stand one after another along L. A source may have a smaller batch B_s dividing B: entry b
/// of q then reads its entry b / (B / B_s), as if it had been repeated (it is not copied). Masked keys are left out of
/// the sum and get zero gradients. Scores are never stored; backward recomputes them from one number per row.
/// @param q        float32, float64 or, on CUDA devices, bfloat16, [B,L,heads,D]; like k and v, a strided view is read
///                 in place when its last axis is contiguous
/// @param sources  at least one; k and v [B_s,L_s,heads,D], same dtype
/// @param scale    factor of the scores; 0 means 1 / sqrt(D)
/// @return [B,L,heads,D], contiguous; zero where there is no key at all, or none that is not masked
/// @throws Error when shapes, dtypes or devices do not fit.
Tensor attention(const Tensor& q, const std::vector<KeyValue>& sources, double scale = 0);

/// Attention with a single source: q[B,L,heads,D], k and v [B_s,L_s,heads,D]. See above.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale = 0);

/// The probabilities with which attention() weighs the values: softmax over the keys of all sources, one after another.
/// Masked keys have 0, and a row without any key left has 0 everywhere. From plain ops, and the whole matrix is stored:
/// to look at, not to compute with.
/// @return [B,heads,L,keys]
Tensor attention_probabilities(const Tensor& q, const std::vector<KeyValue>& sources, double scale = 0);

/// The same from plain ops: repeats the sources, joins them, and stores the matrix of probabilities.
Tensor attention_reference(const Tensor& q, const std::vector<KeyValue>& sources, double scale = 0);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/attention-inl.h"
#endif
