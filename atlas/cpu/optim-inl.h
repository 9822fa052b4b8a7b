// CPU bodies of the optimizer kernels; each loop is one that the compiler vectorizes.
#pragma once

#include <algorithm>
#include <cmath>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/kernels/optim.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

// A piece of 16k elements of four operands fits in the second-level cache; the pieces, and with them the order of every
// partial sum, depend on the size of the tensor alone.
inline constexpr int64_t kGrain = 16384;
inline constexpr int64_t kUpdateBlock = 256;

/// Σ x² of n elements: sixteen running sums, so that the additions do not wait for one another.
template <class T>
double squares(const T* x, int64_t n) {
  double sums[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int k = 0; k < 16; ++k) {
      const double v = static_cast<double>(x[i + k]);
      sums[k] += v * v;
    }
  }
  double total = 0;
  for (; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (double s : sums) total += s;
  return total;
}

// The loops stand in functions of their own: `__restrict` arguments and coefficients by value let them vectorize
// without run-time checks for overlap.

template <class T>
void sgd_row(int64_t n, T* __restrict w, const T* __restrict g, const SgdCoefficients<T> c) {
  for (int64_t i = 0; i < n; ++i) c.plain(w[i], g[i]);
}
template <class T>
void momentum_row(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict b, const SgdCoefficients<T> c) {
  for (int64_t i = 0; i < n; ++i) c.heavy_ball(w[i], g[i], b[i]);
}
template <class T>
void nesterov_row(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict b, const SgdCoefficients<T> c) {
  for (int64_t i = 0; i < n; ++i) c.nesterov(w[i], g[i], b[i]);
}
template <class T>
void adam_row(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v,
              const AdamCoefficients<T> c) {
  for (int64_t i = 0; i < n; ++i) c.adam(w[i], g[i], m[i], v[i]);
}
template <class T>
void lamb_moments_row(int64_t n, const T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v,
                      T* __restrict d, const AdamCoefficients<T> c) {
  for (int64_t i = 0; i < n; ++i) {
    c.moments(c.scale * g[i], m[i], v[i]);
    d[i] = c.lamb_direction(w[i], m[i], v[i]);
  }
}
template <class T>
void lamb_update_row(int64_t n, T* __restrict w, const T* __restrict m, const T* __restrict v,
                     const AdamCoefficients<T> c, T rate) {
  for (int64_t i = 0; i < n; ++i) w[i] -= rate * c.lamb_direction(w[i], m[i], v[i]);
}
template <class T>
void ema_row(int64_t n, T* __restrict average, const T* __restrict x, T keep, T take) {
  for (int64_t i = 0; i < n; ++i) ema_step(average[i], x[i], keep, take);
}

}  // namespace detail

ATLAS_INLINE void sgd_update(ParameterUpdate& u, const SgdStep& s) {
  visit_float(u.p, "SGD", [&](auto tag) {
    using T = decltype(tag);
    const SgdCoefficients<T> c(s, u.lr, u.weight_decay);
    T* w = u.p.data<T>();
    const T* gr = u.g.data<T>();
    T* b = s.momentum != 0 ? u.first.data<T>() : nullptr;
    parallel_for(u.p.numel(), detail::kGrain, [&](int64_t at, int64_t end) {
      if (b == nullptr)
        detail::sgd_row(end - at, w + at, gr + at, c);
      else if (s.nesterov)
        detail::nesterov_row(end - at, w + at, gr + at, b + at, c);
      else
        detail::momentum_row(end - at, w + at, gr + at, b + at, c);
    });
  });
}

ATLAS_INLINE void adam_update(ParameterUpdate& u, const AdamStep& s) {
  visit_float(u.p, "Adam", [&](auto tag) {
    using T = decltype(tag);
    const AdamCoefficients<T> c(s, u.lr, u.weight_decay, u.step);
    T* w = u.p.data<T>();
    const T* gr = u.g.data<T>();
    T *mm = u.first.data<T>(), *vv = u.second.data<T>();
    parallel_for(u.p.numel(), detail::kGrain,
                 [&](int64_t at, int64_t end) { detail::adam_row(end - at, w + at, gr + at, mm + at, vv + at, c); });
  });
}

ATLAS_INLINE void lamb_update(ParameterUpdate& u, const AdamStep& s) {
  visit_float(u.p, "LAMB", [&](auto tag) {
    using T = decltype(tag);
    using detail::kUpdateBlock, detail::kGrain;
    const AdamCoefficients<T> c(s, u.lr, u.weight_decay, u.step);
    const int64_t n = u.p.numel();
    T* w = u.p.data<T>();
    const T* gr = u.g.data<T>();
    T *mm = u.first.data<T>(), *vv = u.second.data<T>();

    // First pass: the moments, and per piece the squares of weight and direction. The direction itself is not stored:
    // the second pass works it out again, which costs less than a scratch tensor's traffic.
    const int64_t pieces = (n + kGrain - 1) / kGrain;
    double* sums = workspace<double>(2 * std::max<int64_t>(pieces, 1));
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      double ww = 0, dd = 0;
      for (int64_t at = begin; at < end; at += kUpdateBlock) {
        const int64_t k = std::min(kUpdateBlock, end - at);
        T d[kUpdateBlock];
        detail::lamb_moments_row(k, w + at, gr + at, mm + at, vv + at, d, c);
        ww += detail::squares(w + at, k);
        dd += detail::squares(d, k);
      }
      sums[2 * (begin / kGrain)] = ww;
      sums[2 * (begin / kGrain) + 1] = dd;
    });
    double ww = 0, dd = 0;
    for (int64_t i = 0; i < pieces; ++i) {
      ww += sums[2 * i];
      dd += sums[2 * i + 1];
    }
    const T rate = static_cast<T>(u.lr * lamb_trust(ww, dd, u.weight_decay != 0));
    parallel_for(n, kGrain, [&](int64_t at, int64_t end) {
      detail::lamb_update_row(end - at, w + at, mm + at, vv + at, c, rate);
    });
  });
}

ATLAS_INLINE void ema_update(Tensor& average, const Tensor& x, double decay) {
  visit_float(average, "Ema", [&](auto tag) {
    using T = decltype(tag);
    T* a = average.data<T>();
    const T* from = x.data<T>();
    parallel_for(average.numel(), detail::kGrain, [&](int64_t at, int64_t end) {
      detail::ema_row(end - at, a + at, from + at, static_cast<T>(decay), static_cast<T>(1 - decay));
    });
  });
}

ATLAS_INLINE void swap_values(Tensor& a, Tensor& b) {
  char* x = static_cast<char*>(a.raw());
  char* y = static_cast<char*>(b.raw());
  parallel_for(a.numel() * item_size(a.dtype()), 1 << 18,
               [&](int64_t begin, int64_t end) { std::swap_ranges(x + begin, x + end, y + begin); });
}

ATLAS_INLINE double sum_of_squares(const Tensor& x) {
  return visit_float(x, "sum_of_squares", [&](auto tag) {
    using T = decltype(tag);
    const T* data = x.data<T>();
    const int64_t n = x.numel(), pieces = (n + detail::kGrain - 1) / detail::kGrain;
    double* sums = workspace<double>(std::max<int64_t>(pieces, 1));
    parallel_for(n, detail::kGrain, [&](int64_t begin, int64_t end) {
      sums[begin / detail::kGrain] = detail::squares(data + begin, end - begin);
    });
    double total = 0;
    for (int64_t i = 0; i < pieces; ++i) total += sums[i];
    return total;
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
