// Attention on the CPU: blocks of queries meet blocks of keys, softmax is carried along (Milakov and Gimelshein,
// "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022), and backward recomputes the
// probabilities.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>

#include "atlas/core/math.h"
#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/cpu/gemm_panels.h"
#include "atlas/cpu/row_reduce.h"
#include "atlas/kernels/attention.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// Queries and keys in one block at most: its scores take 256 KiB.
inline constexpr int64_t kQueryBlock = 128;
template <class T>
inline constexpr int64_t kKeyBlock = 2048 / static_cast<int64_t>(sizeof(T));

/// A tensor [B,L,heads,D] as rows of D numbers.
template <class T>
struct Heads {
  T* data;
  int64_t batch_step = 0, step = 1, head_step = 0;  // step: from one token to the next
  explicit Heads(const Tensor& t) : data(t.data<T>()) {
    if (t.numel() == 0) return;
    batch_step = t.strides()[0];
    step = t.size(1) > 1 ? t.strides()[1] : std::max<int64_t>(1, t.size(3));
    head_step = t.strides()[2];
  }
  T* at(int64_t b, int64_t token, int64_t head) const {
    return data + b * batch_step + token * step + head * head_step;
  }
};

/// One source, and how many batch entries of the queries share one of its entries.
template <class T>
struct HeadsSource {
  Heads<T> k, v;
  int64_t length, share;
  const bool* masked;
  int64_t masks;
  HeadsSource(const KeyValue& s, int64_t batch)
      : k(s.k),
        v(s.v),
        length(s.k.size(1)),
        share(s.k.size(0) > 0 ? batch / s.k.size(0) : 1),
        masked(s.masked.defined() ? s.masked.data<bool>() : nullptr),
        masks(s.masked.defined() ? s.masked.size(0) : 1) {}
  /// Sets what a masked key of the block starting at k0 has in a [rows, n] matrix with rows of `step`.
  void mask(T* matrix, int64_t step, int64_t entry, int64_t k0, int64_t rows, int64_t n, T value) const {
    if (masked == nullptr) return;
    const bool* m = masked + entry % masks * length + k0;
    for (int64_t i = 0; i < n; ++i)
      if (m[i])
        for (int64_t r = 0; r < rows; ++r) matrix[r * step + i] = value;
  }
};

template <class T>
std::vector<HeadsSource<T>> heads_sources(const std::vector<KeyValue>& sources, int64_t batch) {
  std::vector<HeadsSource<T>> all;
  for (const KeyValue& s : sources) all.emplace_back(s, batch);
  return all;
}

/// Calls f(source number, source, first key, keys) for each block of keys of all sources.
template <class T, class F>
void for_each_key_block(const std::vector<HeadsSource<T>>& sources, const F& f) {
  for (size_t i = 0; i < sources.size(); ++i)
    for (int64_t k0 = 0; k0 < sources[i].length; k0 += kKeyBlock<T>)
      f(i, sources[i], k0, std::min(kKeyBlock<T>, sources[i].length - k0));
}

/// Rows of scores are as long as whole vectors, so that loops over them have no rest.
constexpr int64_t padded(int64_t n) { return (n + 31) / 32 * 32; }
/// From one row of scores to the next: no multiple of 2 KiB, whose rows would share a few lines of the cache.
constexpr int64_t score_step(int64_t n) { return padded(n) + 16; }
template <class T>
inline constexpr int64_t kScores = kQueryBlock* score_step(kKeyBlock<T>);

/// C[m, n] = alpha A op(B) (+ C), in rows of padded(n), ldc apart, that end in `rest`.
template <class T>
void padded_product(bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b,
                    int64_t ldb, T* c, int64_t ldc, bool accumulate, T rest) {
  gemm_serial<T>(false, trans_b, m, n, k, alpha, a, lda, b, ldb, T(accumulate ? 1 : 0), c, ldc);
  const int64_t length = padded(n);
  for (int64_t r = 0; n < length && r < m; ++r) std::fill(c + r * ldc + n, c + r * ldc + length, rest);
}

/// row = e^(row - shift); returns its sum.
template <class T>
T padded_exp(int64_t n, T* row, T shift) {
  if constexpr (std::is_same_v<T, float>) return simd().row_exp(row, n, shift);
  return row_sum<T>(n, [&](int64_t i) { return row[i] = math::exp(row[i] - shift); });
}

/// One block of queries of one (batch entry, head) against all keys.
template <class T>
void attend(const T* q, int64_t q_step, int64_t rows, int64_t b, int64_t head,
            const std::vector<HeadsSource<T>>& sources, int64_t d, T scale, T* y, int64_t y_step, T* lse) {
  T* const scores = workspace<T>(kScores<T>, 0);
  const int64_t width = padded(d);
  T* const sums = workspace<T>(kQueryBlock * width, 1);
  constexpr T kNone = -std::numeric_limits<T>::infinity();
  T top[kQueryBlock], total[kQueryBlock];
  std::fill_n(top, rows, kNone);
  std::fill_n(total, rows, T(0));
  bool first = true;
  for_each_key_block(sources, [&](size_t, const HeadsSource<T>& s, int64_t k0, int64_t n) {
    const int64_t entry = b / s.share;
    const int64_t length = padded(n), step = score_step(n);
    padded_product<T>(true, rows, n, d, scale, q, q_step, s.k.at(entry, k0, head), s.k.step, scores, step, false,
                      kNone);
    s.mask(scores, step, entry, k0, rows, n, kNone);
    for (int64_t r = 0; r < rows; ++r) {
      T* row = scores + r * step;
      const T before = top[r], now = std::max(before, row_max(length, row));
      const T shift = now == kNone ? T(0) : now;  // when all keys so far are masked
      const T sum = padded_exp(length, row, shift);
      if (first) {
        total[r] = sum;
      } else {  // what was summed so far was relative to the old maximum
        const T shrink = math::exp(before - shift);
        total[r] = total[r] * shrink + sum;
        T* out = sums + r * width;
        for (int64_t i = 0; i < width; ++i) out[i] *= shrink;
      }
      top[r] = now;
    }
    padded_product<T>(false, rows, d, n, T(1), scores, step, s.v.at(entry, k0, head), s.v.step, sums, width, !first,
                      T(0));
    first = false;
  });
  for (int64_t r = 0; r < rows; ++r) {
    lse[r] = top[r] + std::log(total[r]);
    T* __restrict out = y + r * y_step;
    const T* __restrict from = sums + r * width;
    const T factor = T(1) / total[r];
    for (int64_t i = 0; i < d; ++i) out[i] = total[r] == 0 ? T(0) : from[i] * factor;  // 0: no keys at all
  }
}

}  // namespace detail

ATLAS_INLINE void attention_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y,
                                    Tensor& lse) {
  const int64_t batch = q.size(0), length = q.size(1), heads = q.size(2), d = q.size(3);
  if (y.numel() == 0) return;
  visit_float(q, "attention", [&](auto tag) {
    using T = decltype(tag);
    const detail::Heads<T> queries(q), out(y);
    const auto kv = detail::heads_sources<T>(sources, batch);
    int64_t keys = 1;
    for (const auto& s : kv) keys += s.length;
    const detail::Pieces pieces(length, detail::kQueryBlock);
    const int64_t blocks = pieces.count, work = pieces.length * keys * d;  // several small blocks to a piece
    parallel_for(batch * heads * blocks, std::max<int64_t>(1, 500'000 / std::max<int64_t>(1, work)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t b = i / (heads * blocks), head = i / blocks % heads, q0 = i % blocks * pieces.length;
                     detail::attend<T>(queries.at(b, q0, head), queries.step, std::min(pieces.length, length - q0), b,
                                       head, kv, d, static_cast<T>(scale), out.at(b, q0, head), out.step,
                                       lse.data<T>() + (b * heads + head) * length + q0);
                   }
                 });
  });
}

// With P = exp(scale Q Kᵀ - lse), y = P V:  dV = Pᵀ dy,  dP = dy Vᵀ,  dS = P (dP - rowsum(dy y)),  dQ = scale dS K,
// dK = scale dSᵀ Q. All batch entries that share an entry of some source are done by one task, in order: sums over them
// need no locks and do not depend on the number of threads.
ATLAS_INLINE void attention_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale,
                                     const Tensor& y, const Tensor& lse, const Tensor& dy, Tensor& dq,
                                     std::vector<KeyValue>& grads) {
  const int64_t batch = q.size(0), length = q.size(1), heads = q.size(2), d = q.size(3);
  if (q.numel() == 0) {
    for (KeyValue& g : grads) {
      fill_elements(g.k, 0);
      fill_elements(g.v, 0);
    }
    return;
  }
  visit_float(q, "attention", [&](auto tag) {
    using T = decltype(tag);
    const detail::Heads<T> queries(q), outputs(y), douts(dy);
    const auto kv = detail::heads_sources<T>(sources, batch);
    const auto dkv = detail::heads_sources<T>(grads, batch);
    int64_t together = 1;
    for (const auto& s : kv) together = std::lcm(together, s.share);
    const T factor = static_cast<T>(scale);
    const detail::Pieces blocks(length, detail::kQueryBlock);

    parallel_for(batch / together * heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t head = task % heads, b0 = task / heads * together;
        T* const p = workspace<T>(detail::kScores<T>, 0);
        T* const dp = workspace<T>(detail::kScores<T>, 1);
        T delta[detail::kQueryBlock];
        for (int64_t b = b0; b < b0 + together; ++b) {
          for (int64_t q0 = 0; q0 < length; q0 += blocks.length) {
            const int64_t rows = std::min(blocks.length, length - q0);
            const T *qs = queries.at(b, q0, head), *dys = douts.at(b, q0, head), *ys = outputs.at(b, q0, head);
            const T* log_sum = lse.data<T>() + (b * heads + head) * length + q0;
            T* dqs = dq.defined() ? dq.data<T>() + ((b * length + q0) * heads + head) * d : nullptr;
            for (int64_t r = 0; r < rows; ++r) {
              const T *a = dys + r * douts.step, *c = ys + r * outputs.step;
              delta[r] = row_sum<T>(d, [&](int64_t i) { return a[i] * c[i]; });
              if (dqs != nullptr) std::fill_n(dqs + r * heads * d, d, T(0));
            }
            detail::for_each_key_block(kv, [&](size_t index, const detail::HeadsSource<T>& s, int64_t k0, int64_t n) {
              const int64_t entry = b / s.share;
              const T *k = s.k.at(entry, k0, head), *v = s.v.at(entry, k0, head);
              const int64_t row_length = detail::padded(n), step = detail::score_step(n);
              detail::padded_product<T>(true, rows, n, d, factor, qs, queries.step, k, s.k.step, p, step, false, T(0));
              for (int64_t r = 0; r < rows; ++r) detail::padded_exp(row_length, p + r * step, log_sum[r]);
              s.mask(p, step, entry, k0, rows, n, T(0));
              const bool fresh = b % s.share == 0 && q0 == 0;  // the first to touch these dk and dv overwrites them
              if (!dkv.empty()) {
                const detail::Heads<T>& dv = dkv[index].v;
                gemm_serial<T>(true, false, n, d, rows, T(1), p, step, dys, douts.step, fresh ? T(0) : T(1),
                               dv.at(entry, k0, head), dv.step);
              }
              detail::padded_product<T>(true, rows, n, d, T(1), dys, douts.step, v, s.v.step, dp, step, false, T(0));
              for (int64_t r = 0; r < rows; ++r) {
                T* __restrict ds = dp + r * step;
                const T* __restrict row = p + r * step;
                const T mean = delta[r];
                for (int64_t i = 0; i < row_length; ++i) ds[i] = row[i] * (ds[i] - mean);
              }
              if (dqs != nullptr)
                gemm_serial<T>(false, false, rows, d, n, factor, dp, step, k, s.k.step, T(1), dqs, heads * d);
              if (!dkv.empty()) {
                const detail::Heads<T>& dk = dkv[index].k;
                gemm_serial<T>(true, false, n, d, rows, factor, dp, step, qs, queries.step, fresh ? T(0) : T(1),
                               dk.at(entry, k0, head), dk.step);
              }
            });
          }
        }
      }
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
