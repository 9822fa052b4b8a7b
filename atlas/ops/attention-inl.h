// Bodies of attention.h.
#pragma once

#include <cmath>
#include <limits>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/node.h"
#include "atlas/kernels/attention.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/join.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/select.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/softmax.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// `t` [B,L,heads,D] when its rows can be read in place, otherwise a contiguous copy. Outside the graph.
inline Tensor rows_of_heads(const Tensor& t) {
  const bool in_place = (t.size(3) <= 1 || t.strides()[3] == 1) && (t.size(1) <= 1 || t.strides()[1] >= t.size(3));
  return in_place ? t.detach() : copy_of(t);
}

ATLAS_INLINE void check_attention(const Tensor& q, const std::vector<KeyValue>& sources) {
  check(q.dim() == 4, "attention", "needs q[B,L,heads,D], got {}", describe(q));
  check(q.size(3) >= 1, "attention", "needs at least one channel per head, got q {}", describe(q));
  check(!sources.empty(), "attention", "needs at least one source of keys and values");
  for (size_t i = 0; i < sources.size(); ++i) {
    const auto& [k, v, masked] = sources[i];
    check_same_kind(q, k, "attention", "q", "k");
    check_same_kind(q, v, "attention", "q", "v");
    check(k.dim() == 4 && k.shape() == v.shape(), "attention",
          "source {}: needs k and v of one shape [B,L,heads,D], got k {}, v {}", i, describe(k), describe(v));
    for (int axis : {2, 3})
      check(k.size(axis) == q.size(axis), "attention", "source {}: axis {} ({}) differs: q {} has {}, k {} has {}", i,
            axis, axis == 2 ? "heads" : "channels per head", describe(q), q.size(axis), describe(k), k.size(axis));
    check(k.size(0) == q.size(0) || (k.size(0) > 0 && q.size(0) % k.size(0) == 0), "attention",
          "source {}: the batch of q {} (axis 0 = {}) is not a multiple of that of k {} (axis 0 = {})", i, describe(q),
          q.size(0), describe(k), k.size(0));
    if (masked.defined())
      check(masked.dtype() == boolean && masked.dim() == 2 && masked.is_contiguous() && masked.size(1) == k.size(1) &&
                masked.size(0) > 0 && k.size(0) % masked.size(0) == 0,
            "attention", "source {}: the mask must be a contiguous bool[M,{}] with M dividing {}, got {}", i, k.size(1),
            k.size(0), describe(masked));
  }
}

ATLAS_INLINE double attention_scale(const Tensor& q, double scale) {
  return scale != 0 ? scale : 1.0 / std::sqrt(static_cast<double>(q.size(3)));
}

}  // namespace detail

ATLAS_INLINE Tensor attention(const Tensor& q, const std::vector<KeyValue>& sources, double scale) {
  if (detail::autocasts(q)) {
    bool all = q.dtype() == bfloat16;
    for (const KeyValue& s : sources) all = all && s.k.dtype() == bfloat16 && s.v.dtype() == bfloat16;
    if (!all) {
      std::vector<KeyValue> narrowed;
      for (const KeyValue& s : sources) narrowed.push_back({detail::narrow(s.k), detail::narrow(s.v), s.masked});
      return attention(detail::narrow(q), narrowed, scale);
    }
  }
  detail::check_attention(q, sources);
  if (const auto* observer = detail::attention_observer(); observer != nullptr) [[unlikely]]
    (*observer)(q, sources);
  scale = detail::attention_scale(q, scale);
  const Tensor query = detail::rows_of_heads(q);
  std::vector<KeyValue> kv;
  std::vector<Tensor> inputs{q};
  bool need_kv = false;
  for (const KeyValue& s : sources) {
    kv.push_back({detail::rows_of_heads(s.k), detail::rows_of_heads(s.v), s.masked});
    inputs.insert(inputs.end(), {s.k, s.v});
    need_kv = need_kv || s.k.requires_grad() || s.v.requires_grad();
  }
  Tensor y = empty(q.shape(), q.dtype(), q.device());
  Tensor lse = empty({q.size(0), q.size(2), q.size(1)}, statistics_dtype(q), q.device());
  kernels::attention_forward(query, kv, scale, y, lse);

  std::vector<Saved> saved;
  for (const KeyValue& s : kv)
    saved.insert(saved.end(), {Saved(s.k, "attention"), Saved(s.v, "attention"), Saved(s.masked, "attention")});
  return record("attention", y, inputs,
                [sq = Saved(query, "attention"), saved, sy = Saved(y, "attention"), sl = Saved(lse, "attention"), scale,
                 need_q = q.requires_grad(), need_kv](const Tensor& dy) {
                  std::vector<KeyValue> from, to;
                  for (size_t i = 0; i < saved.size(); i += 3) {
                    from.push_back({saved[i](), saved[i + 1](), saved[i + 2]()});
                    if (need_kv) to.push_back({empty_like(from.back().k), empty_like(from.back().v)});
                  }
                  Grads grads(1 + 2 * from.size());
                  if (need_q) grads[0] = empty_like(sq());
                  kernels::attention_backward(sq(), from, scale, sy(), sl(), detail::rows_of_heads(dy), grads[0], to);
                  for (size_t i = 0; i < to.size(); ++i) {
                    grads[1 + 2 * i] = to[i].k;
                    grads[2 + 2 * i] = to[i].v;
                  }
                  return grads;
                });
}

ATLAS_INLINE Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
  return attention(q, std::vector<KeyValue>{{k, v}}, scale);
}

ATLAS_INLINE Tensor attention_probabilities(const Tensor& q, const std::vector<KeyValue>& sources, double scale) {
  detail::check_attention(q, sources);
  std::vector<Tensor> keys, masks;
  bool any_masked = false;
  for (const auto& [k, v, masked] : sources) {
    const int64_t share = q.size(0) / std::max<int64_t>(1, k.size(0));
    keys.push_back(repeat_interleave(k, share, 0));
    Tensor mask = masked;
    if (!mask.defined()) mask = empty({1, k.size(1)}, boolean, q.device()).fill_(0);
    any_masked = any_masked || masked.defined();
    const int64_t rows = mask.size(0), times = k.size(0) / rows;
    mask = expand(mask.reshape({1, rows, k.size(1)}), {times, rows, k.size(1)}).reshape({times * rows, k.size(1)});
    masks.push_back(repeat_interleave(mask, share, 0));
  }
  Tensor scores = matmul(permute(q, {0, 2, 1, 3}), permute(cat(keys, 1), {0, 2, 3, 1}));
  scores = scores * detail::attention_scale(q, scale);
  if (!any_masked) return softmax(scores, -1);
  const Tensor mask = cat(masks, 1).reshape({q.size(0), 1, 1, scores.size(3)});
  // Filled with a number instead of -inf, a row of masked keys alone stays finite; its probabilities are taken away
  // then.
  return masked_fill(softmax(masked_fill(scores, mask, -1e38), -1), mask, 0);
}

ATLAS_INLINE Tensor attention_reference(const Tensor& q, const std::vector<KeyValue>& sources, double scale) {
  const Tensor p = attention_probabilities(q, sources, scale);
  std::vector<Tensor> values;
  for (const auto& [k, v, masked] : sources)
    values.push_back(repeat_interleave(v, q.size(0) / std::max<int64_t>(1, v.size(0)), 0));
  return permute(matmul(p, permute(cat(values, 1), {0, 2, 1, 3})), {0, 2, 1, 3});
}

}  // namespace atlas::inline ATLAS_ABI
