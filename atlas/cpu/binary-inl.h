// CPU bodies of kernels/binary.h.
#pragma once

#include "atlas/kernels/binary.h"
#include "atlas/tensor/strided.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// y[i] = f(a[i sa], b[i sb]). The steps that vectorise (1, and 0 for a repeated value) have their own loops.
template <class F, class T, class R>
void binary_row(F f, const T* __restrict a, int64_t sa, const T* __restrict b, int64_t sb, R* __restrict y, int64_t n) {
  if (sa == 1 && sb == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = f.forward(a[i], b[i]);
  } else if (sa == 1 && sb == 0) {
    const T v = *b;
    for (int64_t i = 0; i < n; ++i) y[i] = f.forward(a[i], v);
  } else if (sa == 0 && sb == 1) {
    const T v = *a;
    for (int64_t i = 0; i < n; ++i) y[i] = f.forward(v, b[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = f.forward(a[i * sa], b[i * sb]);
  }
}

template <class F, class Body>
void visit_operand(DType t, Body&& body) {
  if constexpr (F::kIntegers)
    visit_number(t, F::kName, body);
  else
    visit_float(t, F::kName, body);
}

}  // namespace detail

template <class F>
void binary_forward(F f, const Tensor& a, const Tensor& b, Tensor& y) {
  detail::visit_operand<F>(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using R = std::conditional_t<F::kCompares, bool, T>;
    const Shape& shape = y.shape();
    const StridedLoop<3> loop(shape, {y.strides(), broadcast_strides(a.shape(), a.strides(), shape),
                                      broadcast_strides(b.shape(), b.strides(), shape)});
    R* const to = y.data<R>();
    const T* const pa = a.data<T>();
    const T* const pb = b.data<T>();
    // y is contiguous: its inner step is 1, or does not matter because rows have one element.
    loop.for_each([&](const auto& o, int64_t n, const auto& step) {
      detail::binary_row(f, pa + o[1], step[1], pb + o[2], step[2], to + o[0], n);
    });
  });
}

template <class F>
void binary_scalar(F f, const Tensor& a, double s, bool scalar_first, Tensor& y) {
  detail::visit_operand<F>(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using R = std::conditional_t<F::kCompares, bool, T>;
    const StridedLoop<2> loop(y.shape(), {y.strides(), a.strides()});
    R* const to = y.data<R>();
    const T* const pa = a.data<T>();
    const T v = static_cast<T>(s);
    loop.for_each([&](const auto& o, int64_t n, const auto& step) {
      if (scalar_first)
        detail::binary_row(f, &v, int64_t{0}, pa + o[1], step[1], to + o[0], n);
      else
        detail::binary_row(f, pa + o[1], step[1], &v, int64_t{0}, to + o[0], n);
    });
  });
}

#ifdef ATLAS_COMPILED_LIB
#define ATLAS_INSTANTIATE(F)                                                        \
  template void binary_forward(functors::F, const Tensor&, const Tensor&, Tensor&); \
  template void binary_scalar(functors::F, const Tensor&, double, bool, Tensor&);
ATLAS_BINARY_FUNCTORS(ATLAS_INSTANTIATE)
#undef ATLAS_INSTANTIATE
#endif

}  // namespace atlas::inline ATLAS_ABI::cpu
