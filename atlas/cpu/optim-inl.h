// CPU bodies of the optimiser kernels. Coefficients are worked out in float64 once and used in the tensor's type, as
// PyTorch does; each loop is one that the compiler vectorises.
#pragma once

#include <algorithm>
#include <cmath>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/kernels/optim.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace optim_detail {

// A piece of 16k elements of four operands fits in the second-level cache; the pieces, and with them the order of every
// partial sum, depend on the size of the tensor alone.
inline constexpr int64_t kGrain = 16384;
inline constexpr int64_t kBlock = 256;

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

/// Adam's coefficients in the type of the tensor.
template <class T>
struct AdamCoefficients {
  explicit AdamCoefficients(const AdamStep& s)
      : b1(static_cast<T>(s.beta1)),
        c1(static_cast<T>(1 - s.beta1)),
        b2(static_cast<T>(s.beta2)),
        c2(static_cast<T>(1 - s.beta2)),
        correction1(static_cast<T>(1 - std::pow(s.beta1, static_cast<double>(s.step)))),
        root2(static_cast<T>(std::sqrt(1 - std::pow(s.beta2, static_cast<double>(s.step))))),
        eps(static_cast<T>(s.eps)),
        decay(static_cast<T>(s.weight_decay)),
        scale(static_cast<T>(s.gradient_scale)) {}
  T b1, c1, b2, c2, correction1, root2, eps, decay, scale;
};

// The loops stand in functions of their own: `__restrict` arguments and coefficients by value let them vectorise
// without run-time checks for overlap.

template <class T>
void sgd_row(int64_t n, T* __restrict w, const T* __restrict g, T lr, T decay) {
  for (int64_t i = 0; i < n; ++i) w[i] -= lr * (g[i] + decay * w[i]);
}
template <class T>
void momentum_row(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict b, T lr, T decay, T momentum) {
  for (int64_t i = 0; i < n; ++i) {
    b[i] = momentum * b[i] + (g[i] + decay * w[i]);
    w[i] -= lr * b[i];
  }
}
template <class T>
void nesterov_row(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict b, T lr, T decay, T momentum) {
  for (int64_t i = 0; i < n; ++i) {
    const T d = g[i] + decay * w[i];
    b[i] = momentum * b[i] + d;
    w[i] -= lr * (d + momentum * b[i]);
  }
}
/// `keep` is AdamW's 1 - lr decay, `coupled` Adam's decay, `rate` the learning rate over m's bias correction.
template <class T>
void adam_row(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v,
              const AdamCoefficients<T> c, T keep, T coupled, T rate) {
  for (int64_t i = 0; i < n; ++i) {
    const T d = c.scale * g[i] + coupled * w[i];
    m[i] = c.b1 * m[i] + c.c1 * d;
    v[i] = c.b2 * v[i] + c.c2 * d * d;
    w[i] = keep * w[i] - rate * m[i] / (std::sqrt(v[i]) / c.root2 + c.eps);
  }
}
template <class T>
T lamb_direction(const AdamCoefficients<T>& c, T w, T m, T v) {
  return m / c.correction1 / (std::sqrt(v) / c.root2 + c.eps) + c.decay * w;
}
template <class T>
void lamb_moments_row(int64_t n, const T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v,
                      T* __restrict d, const AdamCoefficients<T> c) {
  for (int64_t i = 0; i < n; ++i) {
    const T gi = c.scale * g[i];
    m[i] = c.b1 * m[i] + c.c1 * gi;
    v[i] = c.b2 * v[i] + c.c2 * gi * gi;
    d[i] = lamb_direction(c, w[i], m[i], v[i]);
  }
}
template <class T>
void lamb_update_row(int64_t n, T* __restrict w, const T* __restrict m, const T* __restrict v,
                     const AdamCoefficients<T> c, T rate) {
  for (int64_t i = 0; i < n; ++i) w[i] -= rate * lamb_direction(c, w[i], m[i], v[i]);
}
template <class T>
void ema_row(int64_t n, T* __restrict average, const T* __restrict x, T keep, T take) {
  for (int64_t i = 0; i < n; ++i) average[i] = keep * average[i] + take * x[i];
}

}  // namespace optim_detail

ATLAS_INLINE void sgd_update(Tensor& p, const Tensor& g, Tensor& buffer, const SgdStep& s) {
  visit_float(p, "SGD", [&](auto tag) {
    using T = decltype(tag);
    const T lr = static_cast<T>(s.lr), momentum = static_cast<T>(s.momentum), decay = static_cast<T>(s.weight_decay);
    T* w = p.data<T>();
    const T* gr = g.data<T>();
    T* b = s.momentum != 0 ? buffer.data<T>() : nullptr;
    parallel_for(p.numel(), optim_detail::kGrain, [&](int64_t at, int64_t end) {
      if (b == nullptr)
        optim_detail::sgd_row(end - at, w + at, gr + at, lr, decay);
      else if (s.nesterov)
        optim_detail::nesterov_row(end - at, w + at, gr + at, b + at, lr, decay, momentum);
      else
        optim_detail::momentum_row(end - at, w + at, gr + at, b + at, lr, decay, momentum);
    });
  });
}

ATLAS_INLINE void adam_update(Tensor& p, const Tensor& g, Tensor& m, Tensor& v, const AdamStep& s) {
  visit_float(p, "Adam", [&](auto tag) {
    using T = decltype(tag);
    const optim_detail::AdamCoefficients<T> c(s);
    const T keep = static_cast<T>(s.decoupled ? 1 - s.lr * s.weight_decay : 1);
    const T coupled = static_cast<T>(s.decoupled ? 0 : s.weight_decay);
    const T rate = static_cast<T>(s.lr / (1 - std::pow(s.beta1, static_cast<double>(s.step))));
    T* w = p.data<T>();
    const T* gr = g.data<T>();
    T *mm = m.data<T>(), *vv = v.data<T>();
    parallel_for(p.numel(), optim_detail::kGrain, [&](int64_t at, int64_t end) {
      optim_detail::adam_row(end - at, w + at, gr + at, mm + at, vv + at, c, keep, coupled, rate);
    });
  });
}

ATLAS_INLINE void lamb_update(Tensor& p, const Tensor& g, Tensor& m, Tensor& v, const AdamStep& s) {
  visit_float(p, "LAMB", [&](auto tag) {
    using T = decltype(tag);
    using optim_detail::kBlock, optim_detail::kGrain;
    const optim_detail::AdamCoefficients<T> c(s);
    const int64_t n = p.numel();
    T* w = p.data<T>();
    const T* gr = g.data<T>();
    T *mm = m.data<T>(), *vv = v.data<T>();

    // First pass: the moments, and per piece the squares of weight and direction. The direction itself is not stored:
    // the second pass works it out again, which costs less than a scratch tensor's traffic.
    const int64_t pieces = (n + kGrain - 1) / kGrain;
    double* sums = workspace<double>(2 * std::max<int64_t>(pieces, 1));
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      double ww = 0, dd = 0;
      for (int64_t at = begin; at < end; at += kBlock) {
        const int64_t k = std::min(kBlock, end - at);
        T d[kBlock];
        optim_detail::lamb_moments_row(k, w + at, gr + at, mm + at, vv + at, d, c);
        ww += optim_detail::squares(w + at, k);
        dd += optim_detail::squares(d, k);
      }
      sums[2 * (begin / kGrain)] = ww;
      sums[2 * (begin / kGrain) + 1] = dd;
    });
    double ww = 0, dd = 0;
    for (int64_t i = 0; i < pieces; ++i) {
      ww += sums[2 * i];
      dd += sums[2 * i + 1];
    }
    const double trust = s.weight_decay != 0 && ww > 0 && dd > 0 ? std::sqrt(ww) / std::sqrt(dd) : 1;
    const T rate = static_cast<T>(s.lr * trust);
    parallel_for(n, kGrain, [&](int64_t at, int64_t end) {
      optim_detail::lamb_update_row(end - at, w + at, mm + at, vv + at, c, rate);
    });
  });
}

ATLAS_INLINE void ema_update(Tensor& average, const Tensor& x, double decay) {
  visit_float(average, "Ema", [&](auto tag) {
    using T = decltype(tag);
    T* a = average.data<T>();
    const T* from = x.data<T>();
    parallel_for(average.numel(), optim_detail::kGrain, [&](int64_t at, int64_t end) {
      optim_detail::ema_row(end - at, a + at, from + at, static_cast<T>(decay), static_cast<T>(1 - decay));
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
    const int64_t n = x.numel(), pieces = (n + optim_detail::kGrain - 1) / optim_detail::kGrain;
    double* sums = workspace<double>(std::max<int64_t>(pieces, 1));
    parallel_for(n, optim_detail::kGrain, [&](int64_t begin, int64_t end) {
      sums[begin / optim_detail::kGrain] = optim_detail::squares(data + begin, end - begin);
    });
    double total = 0;
    for (int64_t i = 0; i < pieces; ++i) total += sums[i];
    return total;
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
