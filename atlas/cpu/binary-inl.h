// CPU bodies of kernels/binary.h.
#pragma once

#include "atlas/cpu/rows.h"
#include "atlas/kernels/binary.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// y[i] = f(a[i], b[i]). The steps that vectorize (1, and 0 for a repeated value) have their own loops.
template <class F, class T>
void binary_row(const void*, const Row<3>& row) {
  using R = std::conditional_t<F::kCompares, bool, T>;
  const F f{};
  // y is contiguous: its step is 1, or does not matter because the row has one element.
  R* __restrict y = row.at<R>(0);
  const T* __restrict a = row.at<T>(1);
  const T* __restrict b = row.at<T>(2);
  const int64_t n = row.n, sa = row.step[1], sb = row.step[2];
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

/// f(a[i], s), or f(s, a[i]).
template <class F, class T>
struct BinaryScalar {
  T s;
  bool scalar_first;
  static void row(const void* self, const Row<2>& r) {
    const BinaryScalar& c = *static_cast<const BinaryScalar*>(self);
    Row<3> three{{r.data[0], r.data[1], r.data[1]}, {r.step[0], r.step[1], r.step[1]}, r.n};
    const size_t at = c.scalar_first ? 1 : 2;
    three.data[at] = reinterpret_cast<char*>(const_cast<T*>(&c.s));
    three.step[at] = 0;
    binary_row<F, T>(nullptr, three);
  }
};

template <class F, class Body>
void visit_operand(const Tensor& t, Body&& body) {
  if constexpr (F::kIntegers)
    visit_number(t, F::kName, body);
  else
    visit_float(t, F::kName, body);
}

}  // namespace detail

template <class F>
void binary_forward(F, const Tensor& a, const Tensor& b, Tensor& y) {
  detail::visit_operand<F>(a, [&](auto tag) {
    for_each_row<3>({&y, &a, &b}, detail::binary_row<F, decltype(tag)>, nullptr);
  });
}

template <class F>
void binary_scalar(F, const Tensor& a, double s, bool scalar_first, Tensor& y) {
  detail::visit_operand<F>(a, [&](auto tag) {
    const detail::BinaryScalar<F, decltype(tag)> body{static_cast<decltype(tag)>(s), scalar_first};
    for_each_row<2>({&y, &a}, body.row, &body);
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
