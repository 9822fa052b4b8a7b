// The plain kernels of attention.
#pragma once

#include "atlas/kernels/attention.h"
#include "atlas/reference/attention.h"
#include "atlas/reference/elements.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

/// Operands of attention in row-major order. `sources` points into the other members.
template <class T>
struct AttentionOperands {
  reference::AttentionShape shape;
  std::vector<T> q;
  std::vector<std::vector<T>> rows;
  std::vector<reference::AttentionSource<T>> sources;

  AttentionOperands(const Tensor& queries, const std::vector<KeyValue>& keys, double scale)
      : shape{queries.size(0), queries.size(1), queries.size(2), queries.size(3), scale}, q(elements<T>(queries)) {
    for (const KeyValue& s : keys) {
      rows.push_back(elements<T>(s.k));
      rows.push_back(elements<T>(s.v));
      sources.push_back({rows[rows.size() - 2].data(), rows.back().data(), s.k.size(0), s.k.size(1),
                         s.masked.defined() ? s.masked.data<bool>() : nullptr,
                         s.masked.defined() ? s.masked.size(0) : 1});
    }
  }
  AttentionOperands(const AttentionOperands&) = delete;
  AttentionOperands& operator=(const AttentionOperands&) = delete;
};

ATLAS_INLINE void attention_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y,
                                    Tensor& lse) {
  if (y.numel() == 0) return;
  visit_float(q, "attention", [&](auto tag) {
    using T = decltype(tag);
    const AttentionOperands<T> in(q, sources, scale);
    reference::attention<T>(in.shape, in.q.data(), in.sources, y.data<T>(), lse.data<T>());
  });
}
ATLAS_INLINE void attention_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale,
                                     const Tensor& /*y*/, const Tensor& /*lse*/, const Tensor& dy, Tensor& dq,
                                     std::vector<KeyValue>& grads) {
  visit_float(q, "attention", [&](auto tag) {
    using T = decltype(tag);
    const AttentionOperands<T> in(q, sources, scale);
    const std::vector<T> dout = elements<T>(dy);
    std::vector<double> dqueries(in.q.size());
    std::vector<reference::AttentionSourceGradient> sums;
    for (const KeyValue& s : sources)
      sums.push_back({std::vector<double>(static_cast<size_t>(s.k.numel())),
                      std::vector<double>(static_cast<size_t>(s.v.numel()))});
    if (!in.q.empty()) reference::attention_backward<T>(in.shape, in.q.data(), in.sources, dout.data(), dqueries, sums);
    store<T>(dqueries, dq);
    for (size_t i = 0; i < grads.size(); ++i) {
      store<T>(sums[i].dk, grads[i].k);
      store<T>(sums[i].dv, grads[i].v);
    }
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
