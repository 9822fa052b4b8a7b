// The plain kernel of matrix products.
#pragma once

#include "atlas/kernels/gemm.h"
#include "atlas/reference/elements.h"
#include "atlas/reference/epilogue.h"
#include "atlas/reference/matmul.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

/// c = a b, and then finish(T()).
template <class F>
void product(const Tensor& a, const Tensor& b, Tensor& c, const F& finish) {
  if (c.numel() == 0) return;
  const int64_t rows = c.size(-2), columns = c.size(-1), depth = a.size(-1), items = c.numel() / (rows * columns);
  visit_float(c, "matmul", [&](auto tag) {
    using T = decltype(tag);
    const std::vector<T> left = elements<T>(a), right = elements<T>(b);
    T* product = c.data<T>();
    for (int64_t i = 0; i < items; ++i)
      reference::matmul(rows, columns, depth, left.data() + i * rows * depth, right.data() + i * depth * columns,
                        product + i * rows * columns);
    finish(tag);
  });
}

ATLAS_INLINE void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& c, const FusedProduct& fused) {
  product(a, b, c, [&](auto tag) { finish<decltype(tag)>(fused, bias, c); });
}
ATLAS_INLINE void matmul_times_derivative(const Tensor& a, const Tensor& b, Activation activation, const Tensor& at,
                                          Tensor& c) {
  product(a, b, c, [&](auto tag) {
    using T = decltype(tag);
    const T* z = at.data<T>();
    T* y = c.data<T>();
    for (int64_t i = 0; i < c.numel(); ++i)
      y[i] = static_cast<T>(static_cast<double>(y[i]) * reference::activation_derivative(activation, z[i]));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
