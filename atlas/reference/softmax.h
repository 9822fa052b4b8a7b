// Softmax and its logarithm along the middle axis of [outer, n, inner].
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// y_i = exp(x_i - top) / sum over j of exp(x_j - top), with top = max x: the largest exponential is 1, so nothing
/// overflows. With `logarithm`, y_i = x_i - top - log(sum over j of exp(x_j - top)).
template <class T>
void softmax(int64_t outer, int64_t n, int64_t inner, bool logarithm, const T* x, T* y) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t c = 0; c < inner; ++c) {
      const int64_t first = o * n * inner + c;
      double top = -std::numeric_limits<double>::infinity(), total = 0;
      for (int64_t i = 0; i < n; ++i) top = std::max<double>(top, x[first + i * inner]);
      for (int64_t i = 0; i < n; ++i) total += std::exp(x[first + i * inner] - top);
      for (int64_t i = 0; i < n; ++i) {
        const double shifted = x[first + i * inner] - top;
        y[first + i * inner] = static_cast<T>(logarithm ? shifted - std::log(total) : std::exp(shifted) / total);
      }
    }
}

/// softmax: dy_i / dx_j = y_i (δ_ij - y_j), so dx_j = y_j (dy_j - sum over i of dy_i y_i).
/// log_softmax: dy_i / dx_j = δ_ij - exp(y_j), so dx_j = dy_j - exp(y_j) sum over i of dy_i.
template <class T>
void softmax_backward(int64_t outer, int64_t n, int64_t inner, bool logarithm, const T* y, const T* dy, T* dx) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t c = 0; c < inner; ++c) {
      const int64_t first = o * n * inner + c;
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = first + i * inner;
        sum += logarithm ? static_cast<double>(dy[at]) : static_cast<double>(dy[at]) * y[at];
      }
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = first + i * inner;
        const double p = y[at];
        dx[at] = static_cast<T>(logarithm ? dy[at] - std::exp(p) * sum : p * (dy[at] - sum));
      }
    }
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
