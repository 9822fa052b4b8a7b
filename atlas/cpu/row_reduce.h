// Sums and maxima over one row, written so that the compiler keeps several vector accumulators in registers: plain
// floating-point reductions are not reassociated by compilers. The order of additions is fixed by kLanes, not by the
// instruction set or the number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::cpu {

/// Independent partial results per row: two 64-byte vectors.
template <class T>
inline constexpr int kLanes = static_cast<int>(128 / sizeof(T));

/// Sum of f(i) for i in [0, n).
template <class T, class F>
T row_sum(int64_t n, const F& f) {
  constexpr int lanes = kLanes<T>;
  T acc[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int j = 0; j < lanes; ++j) acc[j] += f(i + j);
  for (int j = 0; i + j < n; ++j) acc[j] += f(i + j);
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) acc[j] += acc[j + half];
  return acc[0];
}

/// Sums of f(i)[0] and f(i)[1] in one pass; f returns std::array<T, 2>.
template <class T, class F>
std::array<T, 2> row_sum2(int64_t n, const F& f) {
  constexpr int lanes = kLanes<T>;
  T a[lanes] = {}, b[lanes] = {};
  const auto add = [&](int64_t i, int j) {
    const std::array<T, 2> v = f(i);
    a[j] += v[0];
    b[j] += v[1];
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int j = 0; j < lanes; ++j) add(i + j, j);
  for (int j = 0; i + j < n; ++j) add(i + j, j);
  for (int half = lanes / 2; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) {
      a[j] += a[j + half];
      b[j] += b[j + half];
    }
  }
  return {a[0], b[0]};
}

/// Maximum of x[0..n), minus infinity when n = 0. A NaN may be passed over.
template <class T>
T row_max(int64_t n, const T* x) {
  constexpr int lanes = kLanes<T>;
  T acc[lanes];
  for (int j = 0; j < lanes; ++j) acc[j] = -std::numeric_limits<T>::infinity();
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int j = 0; j < lanes; ++j) acc[j] = x[i + j] > acc[j] ? x[i + j] : acc[j];
  for (int j = 0; i + j < n; ++j) acc[j] = x[i + j] > acc[j] ? x[i + j] : acc[j];
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) acc[j] = acc[j + half] > acc[j] ? acc[j + half] : acc[j];
  return acc[0];
}

}  // namespace atlas::inline ATLAS_ABI::cpu
