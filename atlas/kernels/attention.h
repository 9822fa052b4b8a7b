// Kernels of scaled dot product attention: the matrix of scores exists block by block only.
#pragma once

#include <vector>

#include "atlas/core/profile.h"
#include "atlas/kernels/gemm.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// Keys and values of one source: k[B_s,L_s,heads,D] and v of the same shape, where B_s divides the batch of the
/// queries.
struct KeyValue {
  Tensor k, v;
  /// bool [M,L_s], true where a key is not to be read (padding); entry e uses row e % M, and M divides B_s. Undefined:
  /// every key is read. What a masked key and its value hold has no influence, as long as it is finite.
  Tensor masked = {};
};

namespace cpu {

/// y[B,L,heads,D] (contiguous) and the log-sum-exp of each row of scores, lse[B,heads,L].
/// Queries, keys and values may be strided views whose last axis is contiguous; `scale` multiplies the scores.
ATLAS_INLINE void attention_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y,
                                    Tensor& lse);

/// Gradients, overwritten: dq (or undefined: not wanted) and, when `grads` is not empty, dk and dv of every source.
/// Probabilities are recomputed from lse. dy may be strided like q; the gradients are contiguous.
ATLAS_INLINE void attention_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale,
                                     const Tensor& y, const Tensor& lse, const Tensor& dy, Tensor& dq,
                                     std::vector<KeyValue>& grads);

}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void attention_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y, Tensor& lse);
void attention_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, const Tensor& y,
                        const Tensor& lse, const Tensor& dy, Tensor& dq, std::vector<KeyValue>& grads);
}  // namespace cuda

namespace kernels {

/// `per_score` operations for each query, key and channel.
inline double attention_flops(const Tensor& q, const std::vector<KeyValue>& sources, double per_score) {
  double keys = 0;
  for (const KeyValue& s : sources) keys += static_cast<double>(s.k.size(1));
  return per_score * static_cast<double>(q.numel()) * keys;
}

/// on_cuda() of all operands.
template <class... Tensors>
bool attention_on_cuda(const Tensor& q, const std::vector<KeyValue>& sources, const Tensors&... others) {
  for (const KeyValue& s : sources) on_cuda("attention", q, s.k, s.v, s.masked);
  return on_cuda("attention", q, others...);
}

inline void attention_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y,
                              Tensor& lse) {
  const ProfileScope profile("attention", attention_flops(q, sources, 4), q, y);
  if constexpr (kWithCuda)
    if (attention_on_cuda(q, sources, y, lse)) return cuda::attention_forward(q, sources, scale, y, lse);
  cpu::attention_forward(q, sources, scale, y, lse);
}
inline void attention_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, const Tensor& y,
                               const Tensor& lse, const Tensor& dy, Tensor& dq, std::vector<KeyValue>& grads) {
  const ProfileScope profile("attention backward", attention_flops(q, sources, 10), q, y);
  if constexpr (kWithCuda)
    if (attention_on_cuda(q, sources, y, lse, dy))
      return cuda::attention_backward(q, sources, scale, y, lse, dy, dq, grads);
  cpu::attention_backward(q, sources, scale, y, lse, dy, dq, grads);
}

}  // namespace kernels

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/attention-inl.h"
#endif
