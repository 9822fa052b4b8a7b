// CPU bodies of kernels/unary.h.
#pragma once

#include "atlas/cpu/rows.h"
#include "atlas/kernels/unary.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

template <class F, class T>
void unary_row(const void* functor, const Row<2>& row) {
  const F f = *static_cast<const F*>(functor);  // a copy on the stack, which the stores below cannot change
  if (row.at<T>(0) == row.at<T>(1)) {           // in place
    T* v = row.at<T>(0);
    for (int64_t i = 0; i < row.n; ++i) v[i * row.step[0]] = f.forward(v[i * row.step[0]]);
    return;
  }
  T* __restrict y = row.at<T>(0);
  const T* __restrict x = row.at<T>(1);
  if (row.contiguous()) {
    for (int64_t i = 0; i < row.n; ++i) y[i] = f.forward(x[i]);
  } else {
    for (int64_t i = 0; i < row.n; ++i) y[i * row.step[0]] = f.forward(x[i * row.step[1]]);
  }
}

template <class F, class T>
void unary_backward_row(const void* functor, const Row<3>& row) {
  const F f = *static_cast<const F*>(functor);
  T* __restrict dx = row.at<T>(0);
  const T* __restrict v = row.at<T>(1);
  const T* __restrict dy = row.at<T>(2);
  if (row.contiguous()) {
    for (int64_t i = 0; i < row.n; ++i) dx[i] = dy[i] * f.derivative(v[i]);
  } else {
    for (int64_t i = 0; i < row.n; ++i) dx[i * row.step[0]] = dy[i * row.step[2]] * f.derivative(v[i * row.step[1]]);
  }
}

}  // namespace detail

template <class F>
void unary_forward(F f, const Tensor& x, Tensor& y) {
  const auto run = [&](auto tag) { for_each_row<2>({&y, &x}, detail::unary_row<F, decltype(tag)>, &f); };
  if constexpr (F::kIntegers)
    visit_number(x, F::kName, run);
  else
    visit_float(x, F::kName, run);
}

template <class F>
void unary_backward(F f, const Tensor& v, const Tensor& dy, Tensor& dx) {
  visit_float(v, F::kName, [&](auto tag) {
    for_each_row<3>({&dx, &v, &dy}, detail::unary_backward_row<F, decltype(tag)>, &f);
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
