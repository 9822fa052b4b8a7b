// Kernels of scaled dot product attention: the matrix of scores exists block by block only.
#pragma once

#include <vector>

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

namespace cpu::plain {  // the same as plain loops, in atlas/reference/
ATLAS_INLINE void attention_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y,
                                    Tensor& lse);
ATLAS_INLINE void attention_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale,
                                     const Tensor& y, const Tensor& lse, const Tensor& dy, Tensor& dq,
                                     std::vector<KeyValue>& grads);
}  // namespace cpu::plain

template <class F>
void for_each_operand(const KeyValue& s, const F& f) {
  f(s.k);
  f(s.v);
  f(s.masked);
}
template <class F>
void for_each_operand(const std::vector<KeyValue>& sources, const F& f) {
  for (const KeyValue& s : sources) for_each_operand(s, f);
}

namespace kernels {

/// `per_score` operations for each query, key and channel.
template <int per_score, class... Others>
double attention_flops(const Tensor& q, const std::vector<KeyValue>& sources, Others...) {
  double keys = 0;
  for (const KeyValue& s : sources) keys += static_cast<double>(s.k.size(1));
  return per_score * static_cast<double>(q.numel()) * keys;
}

inline constexpr Kernel<cpu::attention_forward, cuda::attention_forward, cpu::plain::attention_forward>
    attention_forward{"attention", "attention", attention_flops<4>};
inline constexpr Kernel<cpu::attention_backward, cuda::attention_backward, cpu::plain::attention_backward>
    attention_backward{"attention", "attention backward", attention_flops<10>};

}  // namespace kernels

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/attention-inl.h"
#include "atlas/reference/attention-inl.h"
#endif
