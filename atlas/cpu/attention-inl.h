// Attention on the CPU: blocks of queries meet blocks of keys, softmax is carried along (Milakov and Gimelshein,
// "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022), and backward recomputes the
// probabilities.
//
// A block of scores takes 256 KiB at most and stays in the second-level cache. Windows of 49 or 196 tokens are one
// block: per head, K and V are packed once, 4 L² D flops work on them, and rows of scores are as long as a whole number
// of register tiles, so neither products nor softmax have edges. What stands beyond the keys in such a row weighs
// nothing forward (its score is -infinity) and is never read backward.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "atlas/core/math.h"
#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/cpu/gemm_panels.h"
#include "atlas/cpu/row_reduce.h"
#include "atlas/kernels/attention.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// Most queries and keys in one block.
inline constexpr int64_t kQueryBlock = 256;
template <class T>
inline constexpr int64_t kKeyBlock = 2048 / static_cast<int64_t>(sizeof(T));

/// Queries in one block, given the keys of the longest source: as many as give 64 Ki scores, from 64 to kQueryBlock.
template <class T>
int64_t query_block(int64_t keys) {
  return std::clamp<int64_t>(65536 / std::clamp<int64_t>(keys, 1, kKeyBlock<T>), 64, kQueryBlock);
}

/// Whether products go through the packed kernels; float64 and Eigen know no padding.
template <class T>
bool packs() {
  return std::is_same_v<T, float> && !use_eigen();
}
/// How far apart rows of n scores (or of D values on their way to y) lie.
template <class T>
int64_t padded(int64_t n) {
  return packs<T>() ? divide_up(n, simd().tile_columns) * simd().tile_columns : n;
}
/// Floats that one block of scores takes at most, padding included.
template <class T>
inline constexpr int64_t kScores = 65536 + kQueryBlock * 32;

/// S[rows, padded n] = factor A Bᵀ for rows of d numbers. Columns from n on are zero, or absent.
template <class T>
void score_product(const T* a, int64_t a_step, int64_t rows, const T* b, int64_t b_step, int64_t n, int64_t d, T factor,
                   T* s) {
  const int64_t width = padded<T>(n);
  if constexpr (std::is_same_v<T, float>) {
    if (packs<T>()) {
      const int64_t panel = d * simd().tile_columns;
      float* panels = workspace<float>(width * d, 2);
      simd().pack(true, b, b_step, d, n, panels, panel);
      return gemm_panels(false, a, a_step, panels, panel, rows, width, d, factor, s, width, false);
    }
  }
  gemm_serial<T>(false, true, rows, n, d, factor, a, a_step, b, b_step, T(0), s, width);
}

/// Y[rows, padded d] (+)= P V for n keys; rows of P and of Y are padded.
template <class T>
void value_product(const T* p, int64_t rows, const T* v, int64_t v_step, int64_t n, int64_t d, T* y, bool add) {
  const int64_t width = padded<T>(d), step = padded<T>(n);
  if constexpr (std::is_same_v<T, float>) {
    if (packs<T>()) {
      const int64_t panel = n * simd().tile_columns;
      float* panels = workspace<float>(width * n, 2);
      simd().pack(false, v, v_step, n, d, panels, panel);
      return gemm_panels(false, p, step, panels, panel, rows, width, n, 1.0f, y, width, add);
    }
  }
  gemm_serial<T>(false, false, rows, d, n, T(1), p, step, v, v_step, add ? T(1) : T(0), y, width);
}

/// A tensor [B,L,heads,D] as rows of D numbers.
template <class T>
struct Heads {
  T* data;
  int64_t batch_step, step, head_step;  // step: from one token to the next
  explicit Heads(const Tensor& t)
      : data(t.data<T>()),
        batch_step(t.strides()[0]),
        step(t.size(1) > 1 ? t.strides()[1] : std::max<int64_t>(1, t.size(3))),
        head_step(t.strides()[2]) {}
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
        masked(s.masked ? s.masked.data<bool>() : nullptr),
        masks(s.masked ? s.masked.size(0) : 1) {}
  /// Sets what a masked key of the block starting at k0 has in a [rows, n] matrix whose rows lie `step` apart.
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

/// Keys of the longest source.
template <class T>
int64_t longest(const std::vector<HeadsSource<T>>& sources) {
  int64_t keys = 0;
  for (const HeadsSource<T>& s : sources) keys = std::max(keys, s.length);
  return keys;
}

/// One block of queries of one (batch entry, head) against all keys.
template <class T>
void attend(const T* q, int64_t q_step, int64_t rows, int64_t b, int64_t head,
            const std::vector<HeadsSource<T>>& sources, int64_t d, T scale, T* y, int64_t y_step, T* lse) {
  constexpr T kNothing = -std::numeric_limits<T>::infinity();
  const int64_t width = padded<T>(d);
  T* const scores = workspace<T>(kScores<T>, 0);
  T* const sums = workspace<T>(rows * width, 3);  // of what goes to y, before it is divided by `total`
  T top[kQueryBlock], total[kQueryBlock];
  std::fill_n(top, rows, kNothing);
  std::fill_n(total, rows, T(0));
  bool first = true;
  for_each_key_block(sources, [&](size_t, const HeadsSource<T>& s, int64_t k0, int64_t n) {
    const int64_t entry = b / s.share, step = padded<T>(n);
    score_product<T>(q, q_step, rows, s.k.at(entry, k0, head), s.k.step, n, d, scale, scores);
    s.mask(scores, step, entry, k0, rows, n, kNothing);
    for (int64_t r = 0; r < rows; ++r) {
      T* row = scores + r * step;
      std::fill(row + n, row + step, kNothing);
      const T before = top[r], now = std::max(before, row_max(step, row));
      const T shift = now == kNothing ? T(0) : now;  // when all keys so far are masked
      const T sum = row_sum<T>(step, [&](int64_t i) { return row[i] = math::exp(row[i] - shift); });
      if (first) {
        total[r] = sum;
      } else {  // what was summed so far was relative to the old maximum
        const T shrink = math::exp(before - shift);
        total[r] = total[r] * shrink + sum;
        T* out = sums + r * width;
        for (int64_t i = 0; i < d; ++i) out[i] *= shrink;
      }
      top[r] = now;
    }
    value_product<T>(scores, rows, s.v.at(entry, k0, head), s.v.step, n, d, sums, !first);
    first = false;
  });
  for (int64_t r = 0; r < rows; ++r) {
    lse[r] = top[r] + std::log(total[r]);
    T* __restrict out = y + r * y_step;
    const T* __restrict from = sums + r * width;
    if (first || total[r] == 0) {  // no keys at all
      std::fill_n(out, d, T(0));
      continue;
    }
    const T factor = T(1) / total[r];
    for (int64_t i = 0; i < d; ++i) out[i] = factor * from[i];
  }
}

}  // namespace detail

ATLAS_INLINE void attention_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y,
                                    Tensor& lse) {
  const int64_t batch = q.size(0), length = q.size(1), heads = q.size(2), d = q.size(3);
  visit_float(q, "attention", [&](auto tag) {
    using T = decltype(tag);
    const detail::Heads<T> queries(q), out(y);
    const auto kv = detail::heads_sources<T>(sources, batch);
    int64_t keys = 1;
    for (const auto& s : kv) keys += s.length;
    const int64_t block = detail::query_block<T>(detail::longest(kv)), blocks = detail::divide_up(length, block);
    const int64_t work = std::min(length, block) * keys * d;  // several small blocks to a piece
    parallel_for(batch * heads * blocks, std::max<int64_t>(1, 500'000 / std::max<int64_t>(1, work)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t b = i / (heads * blocks), head = i / blocks % heads, q0 = i % blocks * block;
                     detail::attend<T>(queries.at(b, q0, head), queries.step, std::min(block, length - q0), b, head, kv,
                                       d, static_cast<T>(scale), out.at(b, q0, head), out.step,
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
  if (batch == 0 || length == 0) {
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
    const int64_t block = detail::query_block<T>(detail::longest(kv));

    parallel_for(batch / together * heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t head = task % heads, b0 = task / heads * together;
        T* const p = workspace<T>(detail::kScores<T>, 0);
        T* const dp = workspace<T>(detail::kScores<T>, 1);
        T delta[detail::kQueryBlock];
        for (int64_t b = b0; b < b0 + together; ++b) {
          for (int64_t q0 = 0; q0 < length; q0 += block) {
            const int64_t rows = std::min(block, length - q0);
            const T *qs = queries.at(b, q0, head), *dys = douts.at(b, q0, head), *ys = outputs.at(b, q0, head);
            const T* log_sum = lse.data<T>() + (b * heads + head) * length + q0;
            T* dqs = dq ? dq.data<T>() + ((b * length + q0) * heads + head) * d : nullptr;
            for (int64_t r = 0; r < rows; ++r) {
              const T *a = dys + r * douts.step, *c = ys + r * outputs.step;
              delta[r] = row_sum<T>(d, [&](int64_t i) { return a[i] * c[i]; });
              if (dqs != nullptr) std::fill_n(dqs + r * heads * d, d, T(0));
            }
            detail::for_each_key_block(kv, [&](size_t index, const detail::HeadsSource<T>& s, int64_t k0, int64_t n) {
              const int64_t entry = b / s.share, step = detail::padded<T>(n);
              const T *k = s.k.at(entry, k0, head), *v = s.v.at(entry, k0, head);
              detail::score_product<T>(qs, queries.step, rows, k, s.k.step, n, d, factor, p);
              for (int64_t r = 0; r < rows; ++r) {
                T* row = p + r * step;
                const T shift = log_sum[r];
                for (int64_t i = 0; i < step; ++i) row[i] = math::exp(row[i] - shift);
              }
              s.mask(p, step, entry, k0, rows, n, T(0));
              const bool fresh = b % s.share == 0 && q0 == 0;  // the first to touch these dk and dv overwrites them
              if (!dkv.empty()) {
                const detail::Heads<T>& dv = dkv[index].v;
                gemm_serial<T>(true, false, n, d, rows, T(1), p, step, dys, douts.step, fresh ? T(0) : T(1),
                               dv.at(entry, k0, head), dv.step);
              }
              detail::score_product<T>(dys, douts.step, rows, v, s.v.step, n, d, T(1), dp);
              for (int64_t r = 0; r < rows; ++r) {
                T* __restrict ds = dp + r * step;
                const T* __restrict row = p + r * step;
                const T mean = delta[r];
                for (int64_t i = 0; i < step; ++i) ds[i] = row[i] * (ds[i] - mean);
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
