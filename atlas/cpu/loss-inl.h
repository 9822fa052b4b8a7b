// CPU kernels of cross entropy: one pass over each row of logits for its statistics and its loss.
#pragma once

#include <algorithm>

#include "atlas/core/math.h"
#include "atlas/core/parallel.h"
#include "atlas/cpu/row_reduce.h"
#include "atlas/kernels/loss.h"
#include "atlas/kernels/loss_step.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// The operands of cross entropy, and loops over its rows.
template <class T>
struct CrossEntropyRows {
  int64_t rows, classes;
  const T* logits;
  const int64_t* labels = nullptr;
  const T *soft = nullptr, *weights = nullptr;
  CrossEntropy<T> step;

  CrossEntropyRows(const Tensor& x, const Tensor& target, const Tensor& class_weights,
                   const CrossEntropySetting& setting)
      : rows(x.shape()[0]), classes(x.shape()[1]), logits(x.data<T>()), step(setting.smoothing, classes) {
    if (target.defined() && target.dtype() == int64)
      labels = target.data<int64_t>();
    else if (target.defined())
      soft = target.data<T>();
    if (class_weights.defined()) weights = class_weights.data<T>();
  }
  T weight(int64_t c) const { return weights != nullptr ? weights[c] : T(1); }
  T total_weight() const {
    return weights != nullptr ? row_sum<T>(classes, [&](int64_t c) { return weights[c]; }) : static_cast<T>(classes);
  }
  template <class F>
  void for_each(const F& f) const {
    parallel_for(rows, std::max<int64_t>(1, 8192 / classes), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) f(r, logits + r * classes);
    });
  }
};

}  // namespace detail

ATLAS_INLINE void cross_entropy_forward(const Tensor& logits, const Tensor& target, const Tensor& weights,
                                        const CrossEntropySetting& setting, Tensor& row_loss, Tensor& statistics) {
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  if (target.dtype() == int64) {
    const int64_t* labels = target.data<int64_t>();
    for (int64_t r = 0; r < rows; ++r)
      if ((labels[r] < 0 || labels[r] >= classes) && !(setting.ignores && labels[r] == setting.ignored)) [[unlikely]]
        fail("cross_entropy", "target of row {} is {}, needs a class in [0, {}) for logits {}", r, labels[r], classes,
             describe(logits));
  }
  visit_float(logits, "cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    const detail::CrossEntropyRows<T> all(logits, target, weights, setting);
    const CrossEntropy<T>& ce = all.step;
    T *stats = statistics.data<T>(), *loss = row_loss.data<T>();
    all.for_each([&](int64_t r, const T* x) {
      const bool ignored = setting.ignores && all.labels != nullptr && all.labels[r] == setting.ignored;
      const T top = row_max(classes, x);
      const T log_sum = math::log(row_sum<T>(classes, [&](int64_t i) { return math::exp(x[i] - top); }));
      stats[3 * r] = top;
      stats[3 * r + 1] = log_sum;
      stats[3 * r + 2] = ignored ? T(0) : (all.labels != nullptr ? all.weight(all.labels[r]) : T(1));
      if (ignored) {
        loss[r] = 0;
      } else if (all.labels != nullptr) {
        loss[r] = ce.keep * stats[3 * r + 2] * ce.surprise(x[all.labels[r]], top, log_sum);
        if (ce.spread != T(0))
          loss[r] += ce.spread *
                     row_sum<T>(classes, [&](int64_t i) { return all.weight(i) * ce.surprise(x[i], top, log_sum); });
      } else {
        const T* t = all.soft + r * classes;
        loss[r] = row_sum<T>(
            classes, [&](int64_t i) { return all.weight(i) * ce.weight(t[i]) * ce.surprise(x[i], top, log_sum); });
      }
    });
  });
}

// With u_i = w_i t_i: d/dx_j sum_i u_i (lse - x_i) = (sum_i u_i) softmax_j - u_j, times drow.
ATLAS_INLINE void cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& weights,
                                         const Tensor& statistics, const CrossEntropySetting& setting,
                                         const Tensor& drow, Tensor& dlogits) {
  visit_float(logits, "cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    const detail::CrossEntropyRows<T> all(logits, target, weights, setting);
    const CrossEntropy<T>& ce = all.step;
    const int64_t classes = all.classes, step = drow.strides()[0];
    const T *stats = statistics.data<T>(), *g = drow.data<T>(), spread_total = ce.spread * all.total_weight();
    T* dxp = dlogits.data<T>();
    all.for_each([&](int64_t r, const T* x) {
      T* __restrict dx = dxp + r * classes;
      const T top = stats[3 * r], log_sum = stats[3 * r + 1], scale = g[r * step];
      if (all.labels != nullptr) {
        if (setting.ignores && all.labels[r] == setting.ignored) {
          std::fill(dx, dx + classes, T(0));
          return;
        }
        const T own = ce.keep * stats[3 * r + 2], total = own + spread_total;
        if (all.weights == nullptr) {
          for (int64_t i = 0; i < classes; ++i) dx[i] = scale * ce.gradient(x[i], top, log_sum, total, ce.spread);
        } else {
          for (int64_t i = 0; i < classes; ++i)
            dx[i] = scale * ce.gradient(x[i], top, log_sum, total, ce.spread * all.weights[i]);
        }
        dx[all.labels[r]] -= scale * own;
      } else {
        const T* t = all.soft + r * classes;
        const T total = row_sum<T>(classes, [&](int64_t i) { return all.weight(i) * ce.weight(t[i]); });
        for (int64_t i = 0; i < classes; ++i)
          dx[i] = scale * ce.gradient(x[i], top, log_sum, total, all.weight(i) * ce.weight(t[i]));
      }
    });
  });
}

// d/dt_i = -w_i (1 - smoothing) log softmax_i, times drow.
ATLAS_INLINE void cross_entropy_target_backward(const Tensor& logits, const Tensor& weights, const Tensor& statistics,
                                                const CrossEntropySetting& setting, const Tensor& drow,
                                                Tensor& dtarget) {
  visit_float(logits, "cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    const detail::CrossEntropyRows<T> all(logits, {}, weights, setting);
    const int64_t classes = all.classes, step = drow.strides()[0];
    const T *stats = statistics.data<T>(), *g = drow.data<T>();
    T* dtp = dtarget.data<T>();
    all.for_each([&](int64_t r, const T* x) {
      T* __restrict dt = dtp + r * classes;
      const T top = stats[3 * r], log_sum = stats[3 * r + 1], scale = all.step.keep * g[r * step];
      for (int64_t i = 0; i < classes; ++i) dt[i] = scale * all.weight(i) * all.step.surprise(x[i], top, log_sum);
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
