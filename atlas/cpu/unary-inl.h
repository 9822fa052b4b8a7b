// CPU bodies of kernels/unary.h.
#pragma once

#include "atlas/kernels/unary.h"
#include "atlas/tensor/strided.h"

namespace atlas::inline ATLAS_ABI::cpu {

template <class F>
void unary_forward(F f, const Tensor& x, Tensor& y) {
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    const StridedLoop<2> loop(x.shape(), {y.strides(), x.strides()});
    T* const to = y.data<T>();
    const T* const from = x.data<T>();
    loop.for_each([&](const auto& o, int64_t n, const auto& step) {
      T* __restrict yr = to + o[0];
      const T* __restrict xr = from + o[1];
      const F g = f;  // a copy on the stack: the stores below cannot change it
      if (step[0] == 1 && step[1] == 1) {
        for (int64_t i = 0; i < n; ++i) yr[i] = g.forward(xr[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) yr[i * step[0]] = g.forward(xr[i * step[1]]);
      }
    });
  };
  if constexpr (F::kIntegers)
    visit_number(x.dtype(), F::kName, run);
  else
    visit_float(x.dtype(), F::kName, run);
}

template <class F>
void unary_backward(F f, const Tensor& v, const Tensor& dy, Tensor& dx) {
  visit_float(v.dtype(), F::kName, [&](auto tag) {
    using T = decltype(tag);
    const StridedLoop<3> loop(v.shape(), {dx.strides(), v.strides(), dy.strides()});
    T* const to = dx.data<T>();
    const T* const at = v.data<T>();
    const T* const from = dy.data<T>();
    loop.for_each([&](const auto& o, int64_t n, const auto& step) {
      T* __restrict r = to + o[0];
      const T* __restrict a = at + o[1];
      const T* __restrict d = from + o[2];
      const F g = f;
      if (step[0] == 1 && step[1] == 1 && step[2] == 1) {
        for (int64_t i = 0; i < n; ++i) r[i] = d[i] * g.derivative(a[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) r[i * step[0]] = d[i * step[2]] * g.derivative(a[i * step[1]]);
      }
    });
  });
}

#ifdef ATLAS_COMPILED_LIB
#define ATLAS_INSTANTIATE(F)                                        \
  template void unary_forward(functors::F, const Tensor&, Tensor&); \
  template void unary_backward(functors::F, const Tensor&, const Tensor&, Tensor&);
ATLAS_UNARY_FUNCTORS(ATLAS_INSTANTIATE)
#undef ATLAS_INSTANTIATE
#endif

}  // namespace atlas::inline ATLAS_ABI::cpu
