// CPU kernels of gather: lines along the axis, in parallel over everything else.
#pragma once

#include "atlas/kernels/gather.h"
#include "atlas/tensor/strided.h"

namespace atlas::inline ATLAS_ABI::cpu {

/// Calls f(t, o) for each element: t and o are its offsets in the tensor that is read or written through the index and
/// in the other one. Lines run in parallel; along a line, elements come in order.
template <class F>
void for_each_picked(const Tensor& through, const Tensor& index, const Tensor& other, int axis, const F& f) {
  const int64_t count = index.shape()[axis];
  if (index.numel() == 0) return;
  const auto without = [axis](Shape s) {
    s.erase(axis);
    return s;
  };
  const StridedLoop<3> lines(without(index.shape()),
                             {without(through.strides()), without(index.strides()), without(other.strides())});
  const int64_t index_step = index.strides()[axis], through_step = through.strides()[axis],
                other_step = other.strides()[axis];
  const int64_t* picked = index.data<int64_t>();
  lines.for_each(
      [&](const auto& o, int64_t n, const auto& step) {
        const auto one = [&](int64_t i, int64_t k) {
          const int64_t at = picked[o[1] + i * step[1] + k * index_step];
          f(o[0] + i * step[0] + at * through_step, o[2] + i * step[2] + k * other_step);
        };
        if (other_step == 1) {  // the axis is the innermost one: along it first
          for (int64_t i = 0; i < n; ++i)
            for (int64_t k = 0; k < count; ++k) one(i, k);
        } else {
          for (int64_t k = 0; k < count; ++k)
            for (int64_t i = 0; i < n; ++i) one(i, k);
        }
      },
      std::max<int64_t>(1, 16384 / count));
}

ATLAS_INLINE void check_index(const Tensor& index, int64_t length, std::string_view op) {
  const int64_t* p = index.data<int64_t>();
  StridedLoop<1>(index.shape(), {index.strides()}).for_each_serial([&](const auto& o, int64_t n, const auto& step) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t k = p[o[0] + i * step[0]];
      check(k >= 0 && k < length, op, "index {} is outside [0, {})", k, length);
    }
  });
}

ATLAS_INLINE void gather_forward(const Tensor& x, const Tensor& index, int axis, Tensor& y) {
  visit_any(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_each_picked(x, index, y, axis, [&](int64_t a, int64_t b) { to[b] = from[a]; });
  });
}

ATLAS_INLINE void gather_backward(const Tensor& dy, const Tensor& index, int axis, Tensor& dx) {
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    const T* from = dy.data<T>();
    T* to = dx.data<T>();
    for_each_picked(dx, index, dy, axis, [&](int64_t a, int64_t b) { to[a] += from[b]; });
  };
  if (dx.dtype() == int64)
    run(int64_t{});
  else
    visit_float(dx, "gather", run);
}

}  // namespace atlas::inline ATLAS_ABI::cpu
