// Scaled dot product attention over several sources of keys, with its whole row of probabilities in memory.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// Lengths of the queries q[batch, length, heads, channels], and the factor of the scores.
struct AttentionShape {
  int64_t batch = 0, length = 0, heads = 0, channels = 0;
  double scale = 1;

  /// Where the channels of a token begin in a tensor [., tokens, heads, channels].
  int64_t at(int64_t entry, int64_t tokens, int64_t token, int64_t head) const {
    return ((entry * tokens + token) * heads + head) * channels;
  }
};

/// Keys and values [batch, length, heads, channels] of one source. Entry b of the queries reads entry
/// b / (its batch / this batch). Keys that masked[entry % masks, j] names are left out.
template <class T>
struct AttentionSource {
  const T *k, *v;
  int64_t batch, length;
  const bool* masked = nullptr;
  int64_t masks = 1;

  int64_t entry(int64_t b, const AttentionShape& s) const { return b / (s.batch / batch); }
  bool left_out(int64_t b, int64_t j, const AttentionShape& s) const {
    return masked != nullptr && masked[entry(b, s) % masks * length + j];
  }
};

/// Calls f(source number, offset of the key's channels, whether it is left out) for each key that entry b reads, the
/// sources one after another.
template <class T, class F>
void for_each_key(const AttentionShape& s, const std::vector<AttentionSource<T>>& sources, int64_t b, int64_t head,
                  const F& f) {
  for (size_t i = 0; i < sources.size(); ++i)
    for (int64_t j = 0; j < sources[i].length; ++j)
      f(i, s.at(sources[i].entry(b, s), sources[i].length, j, head), sources[i].left_out(b, j, s));
}

/// sum over channels of a b
template <class T>
double dot(int64_t channels, const T* a, const T* b) {
  double sum = 0;
  for (int64_t c = 0; c < channels; ++c) sum += static_cast<double>(a[c]) * b[c];
  return sum;
}

/// The probabilities of one query q[channels]: p_j = exp(s_j - lse) with scores s_j = scale q · k_j and
/// lse = log sum over j of exp(s_j), which is returned. Keys that are left out have p_j = 0.
template <class T>
double probabilities(const AttentionShape& s, const std::vector<AttentionSource<T>>& sources, const T* q, int64_t b,
                     int64_t head, std::vector<double>& p) {
  p.clear();
  double top = -std::numeric_limits<double>::infinity(), total = 0;
  for_each_key(s, sources, b, head, [&](size_t i, int64_t key, bool left_out) {
    p.push_back(left_out ? -std::numeric_limits<double>::infinity() : s.scale * dot(s.channels, q, sources[i].k + key));
    if (!(p.back() <= top)) top = p.back();  // a NaN stays
  });
  if (top == -std::numeric_limits<double>::infinity()) {  // no key at all
    p.assign(p.size(), 0);
    return top;
  }
  for (double& score : p) total += (score = std::exp(score - top));
  for (double& score : p) score /= total;
  return top + std::log(total);
}

/// y[b,l,h] = sum over keys j of p_j v_j (Vaswani et al., 2017, eq. 1).
/// @param y    like q, overwritten   @param lse  [batch, heads, length]
template <class T>
void attention(const AttentionShape& s, const T* q, const std::vector<AttentionSource<T>>& sources, T* y, T* lse) {
  std::vector<double> p, sum;
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t l = 0; l < s.length; ++l)
      for (int64_t h = 0; h < s.heads; ++h) {
        const int64_t query = s.at(b, s.length, l, h);
        lse[(b * s.heads + h) * s.length + l] = static_cast<T>(probabilities(s, sources, q + query, b, h, p));
        sum.assign(s.channels, 0);
        auto weight = p.begin();
        for_each_key(s, sources, b, h, [&](size_t i, int64_t key, bool) {
          for (int64_t c = 0; c < s.channels; ++c) sum[c] += *weight * sources[i].v[key + c];
          ++weight;
        });
        for (int64_t c = 0; c < s.channels; ++c) y[query + c] = static_cast<T>(sum[c]);
      }
}

/// What backward writes of one source, like its k and v. Sums over the queries: they start at zero.
struct AttentionSourceGradient {
  std::vector<double> dk, dv;
};

/// With dp_j = dy · v_j, the derivative of softmax gives the scores ds_j = p_j (dp_j - sum over i of p_i dp_i), and
///   dq = scale sum over j of ds_j k_j,   dk_j += scale ds_j q,   dv_j += p_j dy.
template <class T>
void attention_backward(const AttentionShape& s, const T* q, const std::vector<AttentionSource<T>>& sources,
                        const T* dy, std::vector<double>& dq, std::vector<AttentionSourceGradient>& grads) {
  std::vector<double> p, dp;
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t l = 0; l < s.length; ++l)
      for (int64_t h = 0; h < s.heads; ++h) {
        const int64_t query = s.at(b, s.length, l, h);
        probabilities(s, sources, q + query, b, h, p);
        dp.clear();
        double mean = 0;
        for_each_key(s, sources, b, h, [&](size_t i, int64_t key, bool) {
          dp.push_back(dot(s.channels, dy + query, sources[i].v + key));
          mean += p[dp.size() - 1] * dp.back();
        });
        size_t j = 0;
        for_each_key(s, sources, b, h, [&](size_t i, int64_t key, bool) {
          const double ds = s.scale * p[j] * (dp[j] - mean);
          for (int64_t c = 0; c < s.channels; ++c) {
            dq[query + c] += ds * sources[i].k[key + c];
            grads[i].dk[key + c] += ds * q[query + c];
            grads[i].dv[key + c] += p[j] * dy[query + c];
          }
          ++j;
        });
      }
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
