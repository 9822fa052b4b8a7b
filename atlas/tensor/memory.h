// Copies and fills between strided tensors, outside the graph: the memory primitives that creation, contiguous() and
// conversions stand on.
#pragma once

#include <string_view>
#include <vector>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
/// True when two indices of t may share an element (expanded axes, overlapping windows).
ATLAS_INLINE bool overlaps(const Tensor& t);

/// Whether a number can become an element, or stand beside elements. Floats take any, and round it. Integers and bool
/// take what they hold exactly: whole numbers of their range, for int64 up to 2^53 in magnitude, since beyond it a
/// double may be a neighbor of the number that was meant. Tensors, unlike numbers, are converted: to(), copy_().
/// @return what `type` takes instead; "" when it takes this number
ATLAS_INLINE std::string_view refuses_number(DType type, double number);
/// @throws Error naming `op` when t refuses the number.
ATLAS_INLINE void check_number(const char* op, const Tensor& t, double number);
}  // namespace detail

namespace cuda {  // the functions below on CUDA devices, in atlas/cuda/*.cu; shapes and dtypes were checked
void copy_elements(Tensor& dst, const Tensor& src);  ///< also between devices
void fill_elements(Tensor& dst, double value);
void add_elements(Tensor& dst, const Tensor& src, double alpha);
void scale_elements(Tensor& dst, double factor);
void sum_to_elements(Tensor& dst, const Tensor& src);
}  // namespace cuda

/// dst[...] = src[...], converting dtypes and broadcasting src to dst's shape; also between devices.
/// @throws Error when src does not broadcast to dst.
ATLAS_INLINE void copy_elements(Tensor& dst, const Tensor& src);

/// dst[...] = value. @throws Error naming `op` when dst's dtype cannot hold it; so does scale_elements().
ATLAS_INLINE void fill_elements(Tensor& dst, double value, const char* op = "fill");

/// dst[...] += alpha * src[...] (broadcast). @throws Error when dtypes differ, src does not broadcast to dst, or alpha
/// is not whole and they are.
ATLAS_INLINE void add_elements(Tensor& dst, const Tensor& src, double alpha);

/// dst[...] *= factor.
ATLAS_INLINE void scale_elements(Tensor& dst, double factor);

/// dst[...] = src summed over the axes along which dst would be broadcast to src's shape; overwrites dst.
///
/// Sums are kept in float64. The order of additions depends on the shapes alone, not on the number of threads.
/// @throws Error when dtypes differ or are not float32 or float64, or dst does not broadcast to src's shape.
ATLAS_INLINE void sum_to_elements(Tensor& dst, const Tensor& src);

/// A contiguous copy outside the graph, even when `t` is contiguous already.
inline Tensor copy_of(const Tensor& t) {
  Tensor y = empty_like(t);
  copy_elements(y, t);
  return y;
}

namespace detail {
/// t itself where it is on `device`, else a contiguous copy there, outside the graph.
inline Tensor on_device(const Tensor& t, Device device) {
  if (t.device() == device) return t;
  Tensor there = empty(t.shape(), t.dtype(), device);
  copy_elements(there, t);
  return there;
}
}  // namespace detail

/// The elements of a tensor on any device, in row-major order. @throws Error when T is not the element type.
template <class T>
std::vector<T> to_vector(const Tensor& t) {
  const Tensor host = detail::on_device(t.is_contiguous() ? t : copy_of(t), Device{});
  const T* p = host.data<T>();
  return std::vector<T>(p, p + host.numel());
}
/// `t` contiguous on the CPU, outside the graph; t itself when it is so already. Waits for the device.
inline Tensor on_host(const Tensor& t) {
  if (!t.device().is_cuda() && t.is_contiguous()) return t.detach();
  Tensor y = empty(t.shape(), t.dtype(), Device{});
  copy_elements(y, t);
  return y;
}

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tensor/memory-inl.h"
#endif
