// Wide accesses to memory: a few neighboring elements move at once, and are computed with as float (or double).
#pragma once

#include <cassert>
#include <cstdint>
#include <type_traits>

#include "atlas/cuda/launch.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

/// Elements that lie side by side and move in one access.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

/// to = from[0 .. N) and the other way round, in accesses of 16 bytes (or of all N elements when they are fewer bytes).
template <int N, class T>
__device__ void load_elements(const T* from, T (&to)[N]) {
  constexpr int n = N * sizeof(T) <= 16 ? N : static_cast<int>(16 / sizeof(T));
#pragma unroll
  for (int k = 0; k < N; k += n) {
    const Pack<T, n> p = *reinterpret_cast<const Pack<T, n>*>(from + k);
#pragma unroll
    for (int j = 0; j < n; ++j) to[k + j] = p.v[j];
  }
}
template <int N, class T>
__device__ void store_elements(T* to, const T (&from)[N]) {
  constexpr int n = N * sizeof(T) <= 16 ? N : static_cast<int>(16 / sizeof(T));
#pragma unroll
  for (int k = 0; k < N; k += n) {
    Pack<T, n> p;
#pragma unroll
    for (int j = 0; j < n; ++j) p.v[j] = from[k + j];
    *reinterpret_cast<Pack<T, n>*>(to + k) = p;
  }
}

/// to = x[i .. i + N), as numbers to compute with.
template <int N, class T>
__device__ void load_values(const View<T>& x, int64_t i, Compute<std::remove_const_t<T>> (&to)[N]) {
  std::remove_const_t<T> v[N];
  load_elements<N>(x.at(i, N), v);
#pragma unroll
  for (int j = 0; j < N; ++j) to[j] = load(v[j]);
}
/// y[i .. i + N) = v, rounded to T.
template <int N, class T>
__device__ void store_values(const View<T>& y, int64_t i, const Compute<T> (&v)[N]) {
  T rounded[N];
#pragma unroll
  for (int j = 0; j < N; ++j) rounded[j] = store<T>(v[j]);
  store_elements<N>(y.at(i, N), rounded);
}

/// A vector of parameters, statistics or their gradients beside data of type T: of T itself, or of what T is computed
/// in (float32 beside bfloat16).
template <class T>
struct Vector {
  View<T> narrow;
  View<Compute<T>> wide;
  Vector() = default;
  explicit Vector(const Tensor& t) {
    if (!t.defined()) return;
    if (t.dtype() == dtype_of<Compute<T>>())
      wide = view<Compute<T>>(t);
    else
      narrow = view<T>(t);
  }
  __host__ __device__ explicit operator bool() const { return narrow || wide; }
  __device__ Compute<T> operator[](int64_t i) const { return wide ? wide[i] : load(narrow[i]); }
  template <int N>
  __device__ void get(int64_t i, Compute<T> (&to)[N]) const {
    if (wide)
      load_values<N>(wide, i, to);
    else
      load_values<N>(narrow, i, to);
  }
  __device__ void set(int64_t i, Compute<T> value) const {
    if (wide)
      wide[i] = value;
    else
      narrow[i] = store<T>(value);
  }
};

namespace detail {
inline bool aligned(const Tensor& t, int64_t elements) {
  return !t.defined() || reinterpret_cast<uintptr_t>(t.raw()) %
                                 static_cast<uintptr_t>(std::min<int64_t>(16, elements * item_size(t.dtype()))) ==
                             0;
}
}  // namespace detail

/// How many elements of T can move at once where every access starts at a multiple of `width` elements (the length of a
/// row, or the greatest common divisor of all steps) in each of `tensors`: 16 bytes' worth, 8 bytes' worth or 1.
template <class T, class... Tensors>
int pack_width(int64_t width, const Tensors&... tensors) {
  for (int bytes : {16, 8}) {
    const int n = bytes / static_cast<int>(sizeof(T));
    if (n > 1 && width % n == 0 && (detail::aligned(tensors, n) && ...)) return n;
  }
  return 1;
}

/// Calls f(std::integral_constant<int, N>{}) with the largest N <= n that kernels are compiled for.
template <class T, class F>
void visit_pack(int n, const F& f) {
  if constexpr (sizeof(T) == 2) {
    if (n >= 8) return f(std::integral_constant<int, 8>{});
  }
  if constexpr (sizeof(T) <= 4) {
    if (n >= 4) return f(std::integral_constant<int, 4>{});
  }
  f(std::integral_constant<int, 1>{});
}

/// Division of numbers below 2^31 by one divisor: a product and a shift instead of the twenty instructions of a
/// division. (Granlund and Montgomery, "Division by invariant integers using multiplication", PLDI 1994, figure 4.1)
class Divider {
 public:
  Divider() = default;
  explicit Divider(int64_t divisor) : divisor_(static_cast<uint32_t>(divisor)) {
    assert(divisor >= 1 && divisor < (int64_t{1} << 31));
    while ((uint64_t{1} << shift_) < divisor_) ++shift_;
    factor_ = static_cast<uint32_t>((uint64_t{1} << 32) * ((uint64_t{1} << shift_) - divisor_) / divisor_ + 1);
  }
  __device__ uint32_t operator()(uint32_t n) const {
    return static_cast<uint32_t>(((uint64_t{n} * factor_ >> 32) + n) >> shift_);
  }
  /// n / divisor, and n becomes the remainder.
  __device__ uint32_t split(uint32_t& n) const {
    const uint32_t quotient = (*this)(n);
    n -= quotient * divisor_;
    return quotient;
  }

 private:
  uint32_t divisor_ = 1, factor_ = 1;
  int shift_ = 0;
};

/// Raises an error unless a kernel that counts in 31 bits can have so many threads.
inline void check_count(int64_t count, const char* op, const Tensor& x) {
  check(count < (int64_t{1} << 31), op, "{} is too large at once on CUDA (split the batch)", describe(x));
}

}  // namespace atlas::inline ATLAS_ABI::cuda
