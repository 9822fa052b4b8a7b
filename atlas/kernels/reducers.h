// What reductions over an axis do with elements, shared by the CPU and CUDA: init(), add() an element, merge() two
// partial results, finish().
#pragma once

#include <limits>
#include <type_traits>

#include "atlas/core/dtype.h"
#include "atlas/kernels/functors.h"

namespace atlas::inline ATLAS_ABI {

/// Sums: floats in float64, integers and bool in int64. The result is of type T, or int64 for integers, times `scale`.
template <class T>
struct SumOf {
  static constexpr bool kInteger = std::is_integral_v<T>;
  using Acc = std::conditional_t<kInteger, int64_t, double>;
  using Out = std::conditional_t<kInteger, int64_t, T>;
  double scale = 1;
  ATLAS_HOST_DEVICE static Acc init() { return 0; }
  ATLAS_HOST_DEVICE static Acc add(Acc a, T x) { return a + convert<Acc>(x); }
  ATLAS_HOST_DEVICE static Acc merge(Acc a, Acc b) { return a + b; }
  ATLAS_HOST_DEVICE Out finish(Acc a) const {
    if constexpr (kInteger)
      return a;
    else
      return convert<Out>(a * scale);
  }
};

/// The largest (F = functors::Maximum) or smallest (functors::Minimum) element; NaN wins.
template <class F, class T>
struct ExtremeOf {
  using Acc = T;
  using Out = T;
  static constexpr bool kMax = std::is_same_v<F, functors::Maximum>;
  using Limits = std::numeric_limits<T>;
  ATLAS_HOST_DEVICE static T init() {
    if constexpr (Limits::has_infinity)
      return kMax ? -Limits::infinity() : Limits::infinity();
    else
      return kMax ? Limits::lowest() : Limits::max();
  }
  ATLAS_HOST_DEVICE static T add(T a, T x) { return F{}.forward(a, x); }
  ATLAS_HOST_DEVICE static T merge(T a, T b) { return F{}.forward(a, b); }
  ATLAS_HOST_DEVICE static T finish(T a) { return a; }
};

}  // namespace atlas::inline ATLAS_ABI
