// Element types of element-wise kernels: what arithmetic is done in, and dispatch.
#pragma once

#include <type_traits>

#include "atlas/cuda/map.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

/// What elements of T are computed in: float for the 16-bit floats, T for others.
template <class T>
using Arithmetic = std::conditional_t<std::is_same_v<T, bf16> || std::is_same_v<T, half>, float, T>;

/// x as an element of T; bfloat16 takes one instruction instead of the constructor's eight.
template <class T>
__device__ T element(Arithmetic<T> x) {
  if constexpr (std::is_same_v<T, bf16>)
    return store<bf16>(x);
  else
    return T(x);
}

/// Calls f(T{}) for float32, bfloat16, float64 and, where kIntegers, int64 and uint8.
template <bool kIntegers, class F>
decltype(auto) visit_element(const Tensor& x, const char* op, F&& f) {
  if constexpr (kIntegers) {
    if (x.dtype() == int64) return f(int64_t{});
    if (x.dtype() == uint8) return f(uint8_t{});
  }
  if constexpr (kIntegers) check_dtype(x, op, takes::integers);
  return visit_cuda_float(x, op, std::forward<F>(f));
}

/// Calls f(T{}) for an unsigned integer of the size of an element: kernels that only move elements.
template <class F>
decltype(auto) visit_bits(DType t, F&& f) {
  switch (item_size(t)) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    default:
      return f(uint64_t{});
  }
}

/// The bits of `value` converted to an element of type t.
inline uint64_t bits_of(DType t, double value) {
  return visit_any(t, [&](auto tag) {
    const auto v = convert<decltype(tag)>(value);
    uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof v);
    return bits;
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
