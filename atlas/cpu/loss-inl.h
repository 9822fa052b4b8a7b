// CPU kernels of cross entropy: one pass over each row of logits for its statistics and its loss.
#pragma once

#include <algorithm>

#include "atlas/core/math.h"
#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/cpu/row_reduce.h"
#include "atlas/kernels/loss.h"
#include "atlas/kernels/loss_step.h"

namespace atlas::inline ATLAS_ABI::cpu {

ATLAS_INLINE void cross_entropy_forward(const Tensor& logits, const Tensor& target, double smoothing, Tensor& loss,
                                        Tensor& statistics) {
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  const int64_t* labels = target.dtype() == int64 ? target.data<int64_t>() : nullptr;
  if (labels != nullptr) {
    for (int64_t r = 0; r < rows; ++r)
      check(labels[r] >= 0 && labels[r] < classes, "cross_entropy",
            "target of row {} is {}, needs a class in [0, {}) for logits {}", r, labels[r], classes, describe(logits));
  }
  visit_float(logits, "cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    const T *xp = logits.data<T>(), *soft = labels == nullptr ? target.data<T>() : nullptr;
    T* stats = statistics.data<T>();
    T* row_loss = workspace<T>(rows);
    const CrossEntropy<T> ce(smoothing, classes);
    parallel_for(rows, std::max<int64_t>(1, 8192 / classes), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* x = xp + r * classes;
        const T top = row_max(classes, x);
        const T log_sum = math::log(row_sum<T>(classes, [&](int64_t i) { return math::exp(x[i] - top); }));
        stats[2 * r] = top;
        stats[2 * r + 1] = log_sum;
        if (labels != nullptr) {
          row_loss[r] = ce.keep * ce.surprise(x[labels[r]], top, log_sum);
          if (ce.spread != T(0))
            row_loss[r] += ce.spread * row_sum<T>(classes, [&](int64_t i) { return ce.surprise(x[i], top, log_sum); });
        } else {
          const T* t = soft + r * classes;
          row_loss[r] =
              row_sum<T>(classes, [&](int64_t i) { return ce.weight(t[i]) * ce.surprise(x[i], top, log_sum); });
        }
      }
    });
    double total = 0;
    for (int64_t r = 0; r < rows; ++r) total += static_cast<double>(row_loss[r]);
    *loss.data<T>() = static_cast<T>(total / static_cast<double>(rows));
  });
}

// d/dx_j sum_i t_i (lse - x_i) = (sum_i t_i) softmax_j - t_j, times dloss / B.
ATLAS_INLINE void cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& statistics,
                                         double smoothing, const Tensor& dloss, Tensor& dlogits) {
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  const int64_t* labels = target.dtype() == int64 ? target.data<int64_t>() : nullptr;
  visit_float(logits, "cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    const T *xp = logits.data<T>(), *stats = statistics.data<T>(),
            *soft = labels == nullptr ? target.data<T>() : nullptr;
    T* dxp = dlogits.data<T>();
    const CrossEntropy<T> ce(smoothing, classes);
    const T scale = *dloss.data<T>() / static_cast<T>(rows);
    parallel_for(rows, std::max<int64_t>(1, 8192 / classes), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* x = xp + r * classes;
        T* __restrict dx = dxp + r * classes;
        const T top = stats[2 * r], log_sum = stats[2 * r + 1];
        if (labels != nullptr) {
          for (int64_t i = 0; i < classes; ++i) dx[i] = scale * ce.gradient(x[i], top, log_sum, T(1), ce.spread);
          dx[labels[r]] -= scale * ce.keep;
        } else {
          const T* t = soft + r * classes;
          const T total = row_sum<T>(classes, [&](int64_t i) { return ce.weight(t[i]); });
          for (int64_t i = 0; i < classes; ++i) dx[i] = scale * ce.gradient(x[i], top, log_sum, total, ce.weight(t[i]));
        }
      }
    });
  });
}

// d/dt_i = -(1 - smoothing) log softmax_i, times dloss / B.
ATLAS_INLINE void cross_entropy_target_backward(const Tensor& logits, const Tensor& statistics, double smoothing,
                                                const Tensor& dloss, Tensor& dtarget) {
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  visit_float(logits, "cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    const T *xp = logits.data<T>(), *stats = statistics.data<T>();
    T* dtp = dtarget.data<T>();
    const CrossEntropy<T> ce(smoothing, classes);
    const T scale = ce.keep * *dloss.data<T>() / static_cast<T>(rows);
    parallel_for(rows, std::max<int64_t>(1, 8192 / classes), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* x = xp + r * classes;
        T* __restrict dt = dtp + r * classes;
        const T top = stats[2 * r], log_sum = stats[2 * r + 1];
        for (int64_t i = 0; i < classes; ++i) dt[i] = scale * ce.surprise(x[i], top, log_sum);
      }
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
