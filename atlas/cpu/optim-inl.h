// CPU bodies of the optimiser kernels. Coefficients are worked out in float64 once and used in the tensor's type, as
// PyTorch does; each loop is one that the compiler vectorises.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

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
      : b1(static_cast<T>(s.beta1)), c1(static_cast<T>(1 - s.beta1)), b2(static_cast<T>(s.beta2)), c2(static_cast<T>(1 - s.beta2)),
        correction1(static_cast<T>(1 - std::pow(s.beta1, static_cast<double>(s.step)))),
        root2(static_cast<T>(std::sqrt(1 - std::pow(s.beta2, static_cast<double>(s.step))))), eps(static_cast<T>(s.eps)),
        decay(static_cast<T>(s.weight_decay)), scale(static_cast<T>(s.gradient_scale)) {}
  T b1, c1, b2, c2, correction1, root2, eps, decay, scale;
};

}  // namespace optim_detail

ATLAS_INLINE void sgd_update(Tensor& p, const Tensor& g, Tensor& buffer, const SgdStep& s) {
  visit_float(p.dtype(), "SGD", [&](auto tag) {
    using T = decltype(tag);
    const T lr = static_cast<T>(s.lr), momentum = static_cast<T>(s.momentum), decay = static_cast<T>(s.weight_decay);
    T* w0 = p.data<T>();
    const T* g0 = g.data<T>();
    T* b0 = s.momentum != 0 ? buffer.data<T>() : nullptr;
    parallel_for(p.numel(), optim_detail::kGrain, [&](int64_t begin, int64_t end) {
      T* __restrict w = w0;
      const T* __restrict gr = g0;
      T* __restrict b = b0;
      if (b == nullptr) {
        for (int64_t i = begin; i < end; ++i) w[i] -= lr * (gr[i] + decay * w[i]);
      } else if (s.nesterov) {
        for (int64_t i = begin; i < end; ++i) {
          const T d = gr[i] + decay * w[i];
          b[i] = momentum * b[i] + d;
          w[i] -= lr * (d + momentum * b[i]);
        }
      } else {
        for (int64_t i = begin; i < end; ++i) {
          b[i] = momentum * b[i] + (gr[i] + decay * w[i]);
          w[i] -= lr * b[i];
        }
      }
    });
  });
}

ATLAS_INLINE void adam_update(Tensor& p, const Tensor& g, Tensor& m, Tensor& v, const AdamStep& s) {
  visit_float(p.dtype(), "Adam", [&](auto tag) {
    using T = decltype(tag);
    const optim_detail::AdamCoefficients<T> c(s);
    const T keep = static_cast<T>(s.decoupled ? 1 - s.lr * s.weight_decay : 1);
    const T coupled = static_cast<T>(s.decoupled ? 0 : s.weight_decay);
    const T rate = static_cast<T>(s.lr / (1 - std::pow(s.beta1, static_cast<double>(s.step))));
    T* w0 = p.data<T>();
    const T* g0 = g.data<T>();
    T *m0 = m.data<T>(), *v0 = v.data<T>();
    parallel_for(p.numel(), optim_detail::kGrain, [&](int64_t begin, int64_t end) {
      T* __restrict w = w0;
      const T* __restrict gr = g0;
      T* __restrict mm = m0;
      T* __restrict vv = v0;
      for (int64_t i = begin; i < end; ++i) {
        const T d = c.scale * gr[i] + coupled * w[i];
        mm[i] = c.b1 * mm[i] + c.c1 * d;
        vv[i] = c.b2 * vv[i] + c.c2 * d * d;
        w[i] = keep * w[i] - rate * mm[i] / (std::sqrt(vv[i]) / c.root2 + c.eps);
      }
    });
  });
}

ATLAS_INLINE void lamb_update(Tensor& p, const Tensor& g, Tensor& m, Tensor& v, const AdamStep& s) {
  visit_float(p.dtype(), "LAMB", [&](auto tag) {
    using T = decltype(tag);
    using optim_detail::kBlock, optim_detail::kGrain;
    const optim_detail::AdamCoefficients<T> c(s);
    const int64_t n = p.numel();
    T* w0 = p.data<T>();
    const T* g0 = g.data<T>();
    T *m0 = m.data<T>(), *v0 = v.data<T>();
    const auto direction = [&c](T w, T mi, T vi) {
      return mi / c.correction1 / (std::sqrt(vi) / c.root2 + c.eps) + c.decay * w;
    };

    // First pass: the moments, and per piece the squares of weight and direction. The direction itself is not stored:
    // the second pass works it out again, which costs less than a scratch tensor's traffic.
    const int64_t pieces = (n + kGrain - 1) / kGrain;
    double* sums = workspace<double>(2 * std::max<int64_t>(pieces, 1));
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      double ww = 0, dd = 0;
      for (int64_t at = begin; at < end; at += kBlock) {
        const int64_t k = std::min(kBlock, end - at);
        T* __restrict w = w0 + at;
        const T* __restrict gr = g0 + at;
        T* __restrict mm = m0 + at;
        T* __restrict vv = v0 + at;
        T d[kBlock];
        for (int64_t i = 0; i < k; ++i) {
          const T gi = c.scale * gr[i];
          mm[i] = c.b1 * mm[i] + c.c1 * gi;
          vv[i] = c.b2 * vv[i] + c.c2 * gi * gi;
          d[i] = direction(w[i], mm[i], vv[i]);
        }
        ww += optim_detail::squares(w, k);
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
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      T* __restrict w = w0;
      const T* __restrict mm = m0;
      const T* __restrict vv = v0;
      for (int64_t i = begin; i < end; ++i) w[i] -= rate * direction(w[i], mm[i], vv[i]);
    });
  });
}

ATLAS_INLINE void ema_update(Tensor& average, const Tensor& x, double decay) {
  visit_float(average.dtype(), "Ema", [&](auto tag) {
    using T = decltype(tag);
    const T keep = static_cast<T>(decay), take = static_cast<T>(1 - decay);
    T* a0 = average.data<T>();
    const T* x0 = x.data<T>();
    parallel_for(average.numel(), optim_detail::kGrain, [&](int64_t begin, int64_t end) {
      T* __restrict a = a0;
      const T* __restrict b = x0;
      for (int64_t i = begin; i < end; ++i) a[i] = keep * a[i] + take * b[i];
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
  return visit_float(x.dtype(), "sum_of_squares", [&](auto tag) {
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
