// Copies and fills between strided tensors, outside the graph: the memory primitives that creation, contiguous() and
// conversions stand on.
#pragma once

#include <cstring>

#include "atlas/tensor/strided.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// dst[...] = src[...], converting dtypes and broadcasting src to dst's shape. Both on the CPU.
/// @throws Error when src does not broadcast to dst.
inline void copy_elements(Tensor& dst, const Tensor& src) {
  if (dst.device().is_cuda() || src.device().is_cuda()) fail_no_cuda("copy");
  check(broadcast_shapes(dst.shape(), src.shape(), "copy") == dst.shape(), "copy", "{} does not broadcast to {}",
        describe(src), describe(dst));
  if (dst.dtype() == src.dtype() && dst.shape() == src.shape() && dst.is_contiguous() && src.is_contiguous()) {
    const int64_t bytes = dst.numel() * item_size(dst.dtype());
    char* to = static_cast<char*>(dst.raw());
    const char* from = static_cast<const char*>(src.raw());
    parallel_for(bytes, 1 << 20, [&](int64_t a, int64_t b) { std::memmove(to + a, from + a, static_cast<size_t>(b - a)); });
    return;
  }
  const StridedLoop<2> loop(dst.shape(), {dst.strides(), broadcast_strides(src.shape(), src.strides(), dst.shape())});
  visit_any(dst.dtype(), [&](auto to_tag) {
    visit_any(src.dtype(), [&](auto from_tag) {
      using To = decltype(to_tag);
      using From = decltype(from_tag);
      To* to = dst.data<To>();
      const From* from = src.data<From>();
      loop.for_each([&](const auto& o, int64_t n, const auto& step) {
        To* y = to + o[0];
        const From* x = from + o[1];
        if (step[0] == 1 && step[1] == 1) {
          for (int64_t i = 0; i < n; ++i) y[i] = convert<To>(x[i]);
        } else {
          for (int64_t i = 0; i < n; ++i) y[i * step[0]] = convert<To>(x[i * step[1]]);
        }
      });
    });
  });
}

/// dst[...] = value.
inline void fill_elements(Tensor& dst, double value) {
  if (dst.device().is_cuda()) fail_no_cuda("fill");
  const StridedLoop<1> loop(dst.shape(), {dst.strides()});
  visit_any(dst.dtype(), [&](auto tag) {
    using T = decltype(tag);
    T* y = dst.data<T>();
    const T v = convert<T>(value);
    loop.for_each([&](const auto& o, int64_t n, const auto& step) {
      for (int64_t i = 0; i < n; ++i) y[o[0] + i * step[0]] = v;
    });
  });
}

/// dst[...] += alpha * src[...] (broadcast). @throws Error when dtypes differ or src does not broadcast to dst.
inline void add_elements(Tensor& dst, const Tensor& src, double alpha) {
  if (dst.device().is_cuda() || src.device().is_cuda()) fail_no_cuda("add_");
  check(dst.dtype() == src.dtype(), "add_", "dtypes differ: {} and {}", describe(dst), describe(src));
  check(broadcast_shapes(dst.shape(), src.shape(), "add_") == dst.shape(), "add_", "{} does not broadcast to {}", describe(src),
        describe(dst));
  const StridedLoop<2> loop(dst.shape(), {dst.strides(), broadcast_strides(src.shape(), src.strides(), dst.shape())});
  visit_number(dst.dtype(), "add_", [&](auto tag) {
    using T = decltype(tag);
    T* to = dst.data<T>();
    const T* from = src.data<T>();
    const T a = static_cast<T>(alpha);
    loop.for_each([&](const auto& o, int64_t n, const auto& step) {
      T* y = to + o[0];
      const T* x = from + o[1];
      if (step[0] == 1 && step[1] == 1) {
        for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(y[i] + a * x[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) y[i * step[0]] = static_cast<T>(y[i * step[0]] + a * x[i * step[1]]);
      }
    });
  });
}

/// dst[...] *= factor.
inline void scale_elements(Tensor& dst, double factor) {
  if (dst.device().is_cuda()) fail_no_cuda("mul_");
  const StridedLoop<1> loop(dst.shape(), {dst.strides()});
  visit_number(dst.dtype(), "mul_", [&](auto tag) {
    using T = decltype(tag);
    T* y = dst.data<T>();
    const T f = static_cast<T>(factor);
    loop.for_each([&](const auto& o, int64_t n, const auto& step) {
      for (int64_t i = 0; i < n; ++i) y[o[0] + i * step[0]] = static_cast<T>(y[o[0] + i * step[0]] * f);
    });
  });
}

/// A contiguous copy outside the graph, even when `t` is contiguous already.
inline Tensor copy_of(const Tensor& t) {
  Tensor y = empty_like(t);
  copy_elements(y, t);
  return y;
}

}  // namespace atlas::inline ATLAS_ABI
