// New tensors: constant, counting, random, from a vector, around foreign memory.
//
// Where no device is given, tensors are made on default_device(). Numbers are computed on the CPU and copied, so they
// are the same on every device. Integers and bool take no number that they cannot hold: see detail::check_number().
//
// Element i of a random tensor comes from Philox(seed, stream, i), and each call takes one stream of the generator, so
// results depend on the seed and the order of calls alone.
#pragma once

#include <cmath>
#include <concepts>
#include <functional>
#include <limits>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/core/rng.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

/// A tensor whose elements are all `value`.
/// @param shape  axis lengths; {} makes a scalar
/// @throws Error when the dtype cannot hold `value`: integers take whole numbers of their range (int64: up to 2^53 in
///         magnitude), bool takes 0 and 1, floats round any.
Tensor full(const Shape& shape, double value, DType dtype = float32, Device device = default_device());
/// A tensor of zeros.
inline Tensor zeros(const Shape& shape, DType dtype = float32, Device device = default_device()) {
  return full(shape, 0, dtype, device);
}
/// A tensor of ones.
inline Tensor ones(const Shape& shape, DType dtype = float32, Device device = default_device()) {
  return full(shape, 1, dtype, device);
}
/// `value` everywhere, with shape, dtype and device of `like`.
inline Tensor full_like(const Tensor& like, double value) {
  return full(like.shape(), value, like.dtype(), like.device());
}
/// Zeros with shape, dtype and device of `like`.
inline Tensor zeros_like(const Tensor& like) { return full_like(like, 0); }
/// Ones with shape, dtype and device of `like`.
inline Tensor ones_like(const Tensor& like) { return full_like(like, 1); }

/// The n x m matrix with ones on the diagonal (m < 0: square).
Tensor eye(int64_t n, int64_t m = -1, DType dtype = float32, Device device = default_device());

namespace detail {

Tensor arange_integer(int64_t begin, int64_t end, int64_t step, DType dtype, Device device);

Tensor arange_real(double begin, double end, double step, DType dtype, Device device);

}  // namespace detail

/// begin, begin + step, ... up to but without `end`.
/// @param begin  first element
/// @param end    not reached
/// @param step   not 0; may be negative
/// @param dtype  of the elements
/// @throws Error when the dtype cannot hold one of them, as full().
template <class A, class B, class S>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B> && std::is_arithmetic_v<S> Tensor
arange(A begin, B end, S step, DType dtype, Device device = default_device()) {
  if constexpr (std::integral<A> && std::integral<B> && std::integral<S>)
    return detail::arange_integer(static_cast<int64_t>(begin), static_cast<int64_t>(end), static_cast<int64_t>(step),
                                  dtype, device);
  else
    return detail::arange_real(static_cast<double>(begin), static_cast<double>(end), static_cast<double>(step), dtype,
                               device);
}
/// The same as int64 when all arguments are integers, else float32.
template <class A, class B, class S = int>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B> && std::is_arithmetic_v<S> Tensor arange(A begin, B end,
                                                                                                     S step = 1) {
  return arange(begin, end, step, std::integral<A> && std::integral<B> && std::integral<S> ? int64 : float32);
}
/// 0, 1, ..., end - 1 as int64.
Tensor arange(int64_t end, DType dtype = int64, Device device = default_device());
/// 0, 1, ... up to but without `end`, as float32.
template <std::floating_point E>
Tensor arange(E end, DType dtype = float32, Device device = default_device()) {
  return detail::arange_real(0, static_cast<double>(end), 1, dtype, device);
}

/// `count` numbers from `begin` to `end`, both included: y[i] = begin + i (end - begin) / (count - 1).
/// @param count  at least 0
/// @throws Error when the dtype cannot hold one of them, as full().
Tensor linspace(double begin, double end, int64_t count, DType dtype = float32, Device device = default_device());

/// Numbers drawn uniformly from [low, high).
/// @param dtype  float32 (24 random bits) or float64 (53 random bits)
Tensor uniform(const Shape& shape, double low, double high, DType dtype = float32, Generator& g = default_generator(),
               Device device = default_device());
/// Numbers drawn uniformly from [0, 1).
inline Tensor rand(const Shape& shape, DType dtype = float32, Generator& g = default_generator(),
                   Device device = default_device()) {
  return uniform(shape, 0, 1, dtype, g, device);
}
/// Numbers drawn from the standard normal distribution.
/// @param dtype  float32 or float64
Tensor randn(const Shape& shape, DType dtype = float32, Generator& g = default_generator(),
             Device device = default_device());

/// Numbers from the normal distribution of mean 0 and standard deviation `std`, restricted to [a, b].
///
/// By inversion: y = std * Q(u) with Q the quantile function and u uniform between P(a / std) and P(b / std).
/// @param std   greater than 0
/// @param a, b  bounds in absolute terms (not in units of std), a < b
/// @param dtype float32 or float64
Tensor trunc_normal(const Shape& shape, double std = 1, double a = -2, double b = 2, DType dtype = float32,
                    Generator& g = default_generator(), Device device = default_device());

/// A tensor with a copy of `values` in row-major order: from_vector<float>({1, 2, 3, 4}, {2, 2}).
/// @param shape  as many elements as values
/// @throws Error when the number of values does not fit.
template <class T>
Tensor from_vector(const std::vector<T>& values, const Shape& shape, Device device = default_device()) {
  check(shape.numel() == static_cast<int64_t>(values.size()), "from_vector",
        "{} values for shape {}, which has {} elements", values.size(), shape, shape.numel());
  Tensor y = empty(shape, dtype_of<T>(), Device{});
  std::copy(values.begin(), values.end(), y.data<T>());
  return detail::on_device(y, device);
}
/// A tensor of one axis with a copy of `values`.
template <class T>
Tensor from_vector(const std::vector<T>& values) {
  return from_vector(values, {static_cast<int64_t>(values.size())});
}

/// A tensor around memory that belongs to someone else; nothing is copied.
/// @param data     row-major elements of `dtype` on the CPU; must stay valid until `release` is called
/// @param release  called once when the last tensor on this memory is gone
/// @throws Error when data is null although the shape has elements, or is not aligned to the element size.
Tensor from_blob(void* data, const Shape& shape, DType dtype, std::function<void()> release = {});

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tensor/create-inl.h"
#endif
