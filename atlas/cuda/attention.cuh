// What the attention kernels of this room are given: rows of heads, sources of keys and values, and where queries
// stand.
#pragma once

#include <vector>

#include "atlas/cuda/launch.cuh"
#include "atlas/kernels/attention.h"

namespace atlas::inline ATLAS_ABI::cuda {

/// A tensor [B,L,heads,D] as rows of D numbers.
template <class T>
struct HeadRows {
  View<T> elements;
  int64_t batch_step = 0, step = 0, head_step = 0;  ///< step: from one token to the next

  HeadRows() = default;
  explicit HeadRows(const Tensor& t)
      : elements(view<T>(t)), batch_step(t.strides()[0]), step(t.strides()[1]), head_step(t.strides()[2]) {}
  __device__ int64_t row(int64_t b, int64_t token, int64_t head) const {
    return b * batch_step + token * step + head * head_step;
  }
};

/// Whether rows of heads can be read 16 bytes at once.
inline bool wide_rows(const Tensor& t) {
  const int64_t piece = 16 / item_size(t.dtype());
  if (reinterpret_cast<uintptr_t>(t.raw()) % 16 != 0 || t.size(3) % piece != 0) return false;
  for (int axis = 0; axis < 3; ++axis)
    if (t.strides()[axis] % piece != 0) return false;
  return true;
}

/// Keys and values of one source, and how many batch entries of the queries share one of its entries.
template <class T>
struct HeadSource {
  HeadRows<const T> k, v;
  int length = 0;
  int64_t share = 1, masks = 1;
  View<const bool> masked;
  __device__ bool is_masked(int64_t entry, int64_t key) const { return masked && masked[entry % masks * length + key]; }
};

inline constexpr int kMostSources = 8;

template <class T>
struct HeadSources {
  HeadSource<T> at[kMostSources];
  int count = 0;
};

/// Sizes of an attention and the blocks of queries that it is cut into.
struct AttentionSize {
  int64_t batch;
  int length, heads, d;
  double scale;
};

inline AttentionSize attention_size(const Tensor& q, double scale) {
  return {q.size(0), static_cast<int>(q.size(1)), static_cast<int>(q.size(2)), static_cast<int>(q.size(3)), scale};
}

template <class T>
HeadSources<T> head_sources(const std::vector<KeyValue>& sources, int64_t batch) {
  check(sources.size() <= kMostSources, "attention", "at most {} sources on CUDA, got {}", kMostSources,
        sources.size());
  HeadSources<T> all;
  for (const KeyValue& s : sources) {
    HeadSource<T>& to = all.at[all.count++];
    to.k = HeadRows<const T>(s.k);
    to.v = HeadRows<const T>(s.v);
    to.length = static_cast<int>(s.k.size(1));
    to.share = s.k.size(0) > 0 ? batch / s.k.size(0) : 1;
    to.masked = view<const bool>(s.masked);
    to.masks = s.masked.defined() ? s.masked.size(0) : 1;
  }
  return all;
}

/// lse and delta, one number per row of scores: [B,heads,L].
template <class C>
struct RowNumbers {
  View<C> lse, delta;
};

// The kernels of the tensor cores; false when a head is too long for them. delta is rowsum(dy y), [B,heads,L].
bool attention_mma_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y, Tensor& lse);
bool attention_mma_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, const Tensor& lse,
                            const Tensor& dy, const float* delta, Tensor& dq, std::vector<KeyValue>& grads);

/// In how many parts the queries that meet `tiles` blocks of keys are summed, so that a large card is busy: each part
/// has at least two of the `steps` blocks of queries. Depends on the sizes alone.
inline int64_t query_parts(int64_t tiles, int64_t steps) {
  return std::max<int64_t>(1, std::min<int64_t>(528 / std::max<int64_t>(1, tiles), steps / 2));
}

}  // namespace atlas::inline ATLAS_ABI::cuda
