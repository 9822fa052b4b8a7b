// New tensors: constant, counting, random, from a vector, around foreign memory.
//
// Where no device is given, tensors are made on default_device(). Numbers are computed on the CPU and copied, so they
// are the same on every device.
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
/// @throws Error when an integer dtype cannot hold `value`.
inline Tensor full(const Shape& shape, double value, DType dtype = float32, Device device = default_device()) {
  Tensor y = empty(shape, dtype, device);
  fill_elements(y, value);
  return y;
}
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
inline Tensor eye(int64_t n, int64_t m = -1, DType dtype = float32, Device device = default_device()) {
  Tensor y = zeros({n, m < 0 ? n : m}, dtype, device);
  const int64_t k = std::min(y.shape()[0], y.shape()[1]);
  Tensor diagonal = raw_view(y, {k}, {y.shape()[1] + 1}, 0);
  fill_elements(diagonal, 1);
  return y;
}

namespace detail {

/// y[i] = f(i) for a contiguous y of elements T, in parallel.
template <class T, class F>
void generate(Tensor& y, const F& f) {
  T* out = y.data<T>();
  parallel_for(y.numel(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = f(i);
  });
}

inline Tensor arange_integer(int64_t begin, int64_t end, int64_t step, DType dtype, Device device) {
  check(step != 0, "arange", "step must not be 0");
  // Distances of two int64 fit into uint64.
  const bool up = step > 0, some = up ? begin < end : begin > end;
  const uint64_t a = static_cast<uint64_t>(begin), b = static_cast<uint64_t>(end), s = static_cast<uint64_t>(step);
  const uint64_t count = some ? ((up ? b - a : a - b) - 1) / (up ? s : 0 - s) + 1 : 0;
  check(count <= uint64_t{1} << 62, "arange", "[{}, {}) with step {} has too many elements", begin, end, step);
  Tensor y = empty({static_cast<int64_t>(count)}, int64, Device{});
  generate<int64_t>(y, [&](int64_t i) { return static_cast<int64_t>(a + static_cast<uint64_t>(i) * s); });
  if (dtype == int64) return on_device(y, device);
  Tensor converted = empty(y.shape(), dtype, device);
  copy_elements(converted, y);
  return converted;
}

inline Tensor arange_real(double begin, double end, double step, DType dtype, Device device) {
  check(std::isfinite(begin) && std::isfinite(end) && std::isfinite(step) && step != 0, "arange",
        "needs finite bounds and a finite step other than 0, got [{}, {}) with step {}", begin, end, step);
  const double count = std::max(0.0, std::ceil((end - begin) / step));
  check(count < 0x1p62, "arange", "[{}, {}) with step {} has too many elements", begin, end, step);
  Tensor y = empty({static_cast<int64_t>(count)}, dtype, Device{});
  visit_any(dtype, [&](auto tag) {
    using T = decltype(tag);
    generate<T>(y, [&](int64_t i) { return convert<T>(begin + static_cast<double>(i) * step); });
  });
  return on_device(y, device);
}

}  // namespace detail

/// begin, begin + step, ... up to but without `end`.
/// @param begin  first element
/// @param end    not reached
/// @param step   not 0; may be negative
/// @param dtype  of the elements
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
inline Tensor arange(int64_t end, DType dtype = int64, Device device = default_device()) {
  return detail::arange_integer(0, end, 1, dtype, device);
}

/// `count` numbers from `begin` to `end`, both included: y[i] = begin + i (end - begin) / (count - 1).
/// @param count  at least 0
inline Tensor linspace(double begin, double end, int64_t count, DType dtype = float32,
                       Device device = default_device()) {
  check(count >= 0, "linspace", "the number of elements must not be negative, got {}", count);
  Tensor y = empty({count}, dtype, Device{});
  const double step = count > 1 ? (end - begin) / static_cast<double>(count - 1) : 0.0;
  visit_any(dtype, [&](auto tag) {
    using T = decltype(tag);
    // Counted from the nearer end, so that both ends are exact.
    detail::generate<T>(y, [&](int64_t i) {
      return convert<T>(i < count / 2 || count == 1 ? begin + static_cast<double>(i) * step
                                                    : end - static_cast<double>(count - 1 - i) * step);
    });
  });
  return detail::on_device(y, device);
}

/// Numbers drawn uniformly from [low, high).
/// @param dtype  float32 (24 random bits) or float64 (53 random bits)
inline Tensor uniform(const Shape& shape, double low, double high, DType dtype = float32,
                      Generator& g = default_generator(), Device device = default_device()) {
  check(low <= high && std::isfinite(high - low), "uniform", "needs finite bounds low <= high, got [{}, {})", low,
        high);
  Tensor y = empty(shape, dtype, Device{});
  visit_float(dtype, "uniform", [&](auto tag) {
    using T = decltype(tag);
    const uint64_t stream = g.next();
    const T from = static_cast<T>(low), width = static_cast<T>(high - low),
            below = std::nextafter(static_cast<T>(high), from);
    detail::generate<T>(y, [&](int64_t i) {
      const Philox random(g.seed, stream, static_cast<uint64_t>(i));
      T u = 0;
      if constexpr (std::is_same_v<T, float>)
        u = random.uniform(0);
      else
        u = random.uniform_double(0);
      return std::min(from + width * u, below);  // rounding must not reach `high`
    });
  });
  return detail::on_device(y, device);
}
/// Numbers drawn uniformly from [0, 1).
inline Tensor rand(const Shape& shape, DType dtype = float32, Generator& g = default_generator(),
                   Device device = default_device()) {
  return uniform(shape, 0, 1, dtype, g, device);
}
/// Numbers drawn from the standard normal distribution.
/// @param dtype  float32 or float64
inline Tensor randn(const Shape& shape, DType dtype = float32, Generator& g = default_generator(),
                    Device device = default_device()) {
  Tensor y = empty(shape, dtype, Device{});
  visit_float(dtype, "randn", [&](auto tag) {
    using T = decltype(tag);
    const uint64_t stream = g.next();
    detail::generate<T>(
        y, [&](int64_t i) { return static_cast<T>(Philox(g.seed, stream, static_cast<uint64_t>(i)).normal()); });
  });
  return detail::on_device(y, device);
}

namespace detail {

/// P(X <= x) for a standard normal X, with full relative precision in the lower tail.
inline double normal_cdf(double x) { return 0.5 * std::erfc(-x * 0.7071067811865476); }

/// The x with normal_cdf(x) = p, for p in (0, 1): a rational first guess in t = sqrt(-2 log p) (Abramowitz and Stegun,
/// 26.2.23, error below 4.5e-4), then Halley steps on the distribution function, each tripling the number of digits.
inline double normal_quantile(double p) {
  if (p > 0.5) return -normal_quantile(1 - p);
  const double t = std::sqrt(-2 * std::log(p));
  double x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
  for (int i = 0; i < 2; ++i) {
    const double e = (normal_cdf(x) - p) * 2.5066282746310002 * std::exp(0.5 * x * x);  // error over density
    x -= e / (1 + 0.5 * x * e);
  }
  return x;
}

}  // namespace detail

/// Numbers from the normal distribution of mean 0 and standard deviation `std`, restricted to [a, b].
///
/// By inversion: y = std * Q(u) with Q the quantile function and u uniform between P(a / std) and P(b / std).
/// @param std   greater than 0
/// @param a, b  bounds in absolute terms (not in units of std), a < b
/// @param dtype float32 or float64
inline Tensor trunc_normal(const Shape& shape, double std = 1, double a = -2, double b = 2, DType dtype = float32,
                           Generator& g = default_generator(), Device device = default_device()) {
  check(std > 0 && std::isfinite(std), "trunc_normal", "needs a standard deviation above 0, got {}", std);
  check(a < b, "trunc_normal", "needs bounds a < b, got [{}, {}]", a, b);
  // In the lower tail probabilities keep their relative precision, so bounds above 0 are mirrored.
  const double sign = a > 0 ? -1 : 1, lower = a > 0 ? -b / std : a / std, upper = a > 0 ? -a / std : b / std;
  const double p = detail::normal_cdf(lower), q = detail::normal_cdf(upper);
  check(q > 0, "trunc_normal", "[{}, {}] lies too far out for a standard deviation of {}", a, b, std);
  Tensor y = empty(shape, dtype, Device{});
  visit_float(dtype, "trunc_normal", [&](auto tag) {
    using T = decltype(tag);
    const uint64_t stream = g.next();
    detail::generate<T>(y, [&](int64_t i) {
      const Philox random(g.seed, stream, static_cast<uint64_t>(i));
      const double u = random.uniform_double(0) + 0x1p-54;  // in (0, 1): the quantile is finite
      const double x = std * sign * detail::normal_quantile(p + u * (q - p));
      return std::clamp(static_cast<T>(x), static_cast<T>(a), static_cast<T>(b));
    });
  });
  return detail::on_device(y, device);
}

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
inline Tensor from_blob(void* data, const Shape& shape, DType dtype, std::function<void()> release = {}) {
  const int64_t n = shape.numel();
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(n, item_size(dtype), &bytes), "from_blob", "the size of {} overflows 64 bits", shape);
  check(data != nullptr || n == 0, "from_blob", "null pointer for {}{}", name(dtype), shape);
  check(reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(item_size(dtype)) == 0, "from_blob",
        "the address {} is not a multiple of the {} bytes of {}", data, item_size(dtype), name(dtype));
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = std::make_shared<Storage>(data, bytes, Device{}, std::move(release));
  impl->shape = shape;
  impl->strides = contiguous_strides(shape);
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

}  // namespace atlas::inline ATLAS_ABI
