// CPU bodies of kernels/select.h.
#pragma once

#include "atlas/cpu/rows.h"
#include "atlas/kernels/select.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

template <class T>
void where_row(const void*, const Row<4>& row) {
  T* __restrict y = row.at<T>(0);
  const uint8_t* __restrict c = row.at<uint8_t>(1);  // bool as its byte: gcc vectorizes choices by integers alone
  const T* __restrict a = row.at<T>(2);
  const T* __restrict b = row.at<T>(3);
  if (row.contiguous()) {
    for (int64_t i = 0; i < row.n; ++i) {
      const T u = a[i], v = b[i];  // both are read, so that the choice needs no branch
      y[i] = c[i] != 0 ? u : v;
    }
  } else {
    for (int64_t i = 0; i < row.n; ++i)
      y[i * row.step[0]] = c[i * row.step[1]] != 0 ? a[i * row.step[2]] : b[i * row.step[3]];
  }
}

template <class T>
struct MaskedFill {
  T value;
  bool when;
  static void row(const void* self, const Row<3>& row) {
    const T value = static_cast<const MaskedFill*>(self)->value;
    const uint8_t when = static_cast<const MaskedFill*>(self)->when ? 1 : 0;
    T* __restrict y = row.at<T>(0);
    const T* __restrict x = row.at<T>(1);
    const uint8_t* __restrict m = row.at<uint8_t>(2);
    if (row.contiguous()) {
      for (int64_t i = 0; i < row.n; ++i) {
        const T v = x[i];
        y[i] = m[i] == when ? value : v;
      }
    } else {
      for (int64_t i = 0; i < row.n; ++i) y[i * row.step[0]] = m[i * row.step[2]] == when ? value : x[i * row.step[1]];
    }
  }
};

}  // namespace detail

ATLAS_INLINE void where_forward(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  visit_any(y.dtype(), [&](auto tag) {
    for_each_row<4>({&y, &condition, &a, &b}, detail::where_row<decltype(tag)>, nullptr);
  });
}

ATLAS_INLINE void masked_fill(const Tensor& x, const Tensor& mask, bool when, double value, Tensor& y) {
  visit_any(y.dtype(), [&](auto tag) {
    const detail::MaskedFill<decltype(tag)> body{convert<decltype(tag)>(value), when};
    for_each_row<3>({&y, &x, &mask}, body.row, &body);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
