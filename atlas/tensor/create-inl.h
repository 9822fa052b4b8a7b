// Creation of tensors: the numbers.
#pragma once

#include <cmath>
#include <concepts>
#include <functional>
#include <limits>
#include <vector>

#include "atlas/core/normal.h"
#include "atlas/core/parallel.h"
#include "atlas/core/rng.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor y = empty(shape, dtype, device);
  fill_elements(y, value, "full");
  return y;
}

ATLAS_INLINE Tensor eye(int64_t n, int64_t m, DType dtype, Device device) {
  Tensor y = zeros({n, m < 0 ? n : m}, dtype, device);
  const int64_t k = std::min(y.shape()[0], y.shape()[1]);
  Tensor diagonal = raw_view(y, {k}, {y.shape()[1] + 1}, 0);
  fill_elements(diagonal, 1);
  return y;
}

namespace detail {

/// @throws Error naming `op` when elements of `type` cannot be all of first, first + step, ..., last.
inline void check_numbers(const char* op, const Shape& shape, DType type, double first, double step, double last) {
  const double all[] = {first, last, first + step};
  for (int64_t i = 0; i < std::min<int64_t>(shape.numel(), 3); ++i) {
    const std::string_view takes = refuses_number(type, all[i]);
    check(takes.empty(), op, "{}{} {}, got {} (floats take any)", name(type), shape, takes, all[i]);
  }
}

/// y[i] = f(i) for a contiguous y of elements T, in parallel.
template <class T, class F>
void generate(Tensor& y, const F& f) {
  T* out = y.data<T>();
  parallel_for(y.numel(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = f(i);
  });
}

ATLAS_INLINE Tensor arange_integer(int64_t begin, int64_t end, int64_t step, DType dtype, Device device) {
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
  const auto last = static_cast<int64_t>(a + (count - 1) * s);
  check_numbers("arange", y.shape(), dtype, static_cast<double>(begin), static_cast<double>(step),
                static_cast<double>(last));
  copy_elements(converted, y);
  return converted;
}

ATLAS_INLINE Tensor arange_real(double begin, double end, double step, DType dtype, Device device) {
  check(std::isfinite(begin) && std::isfinite(end) && std::isfinite(step) && step != 0, "arange",
        "needs finite bounds and a finite step other than 0, got [{}, {}) with step {}", begin, end, step);
  const double count = std::max(0.0, std::ceil((end - begin) / step));
  check(count < 0x1p62, "arange", "[{}, {}) with step {} has too many elements", begin, end, step);
  Tensor y = empty({static_cast<int64_t>(count)}, dtype, Device{});
  check_numbers("arange", y.shape(), dtype, begin, step, begin + (count - 1) * step);
  visit_any(dtype, [&](auto tag) {
    using T = decltype(tag);
    generate<T>(y, [&](int64_t i) { return convert<T>(begin + static_cast<double>(i) * step); });
  });
  return on_device(y, device);
}

}  // namespace detail

ATLAS_INLINE Tensor arange(int64_t end, DType dtype, Device device) {
  return detail::arange_integer(0, end, 1, dtype, device);
}

ATLAS_INLINE Tensor linspace(double begin, double end, int64_t count, DType dtype, Device device) {
  check(count >= 0, "linspace", "the number of elements must not be negative, got {}", count);
  Tensor y = empty({count}, dtype, Device{});
  const double step = count > 1 ? (end - begin) / static_cast<double>(count - 1) : 0.0;
  detail::check_numbers("linspace", y.shape(), dtype, begin, step, count > 1 ? end : begin);
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

ATLAS_INLINE Tensor uniform(const Shape& shape, double low, double high, DType dtype, Generator& g, Device device) {
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

ATLAS_INLINE Tensor randn(const Shape& shape, DType dtype, Generator& g, Device device) {
  Tensor y = empty(shape, dtype, Device{});
  visit_float(dtype, "randn", [&](auto tag) {
    using T = decltype(tag);
    const uint64_t stream = g.next();
    detail::generate<T>(
        y, [&](int64_t i) { return static_cast<T>(Philox(g.seed, stream, static_cast<uint64_t>(i)).normal()); });
  });
  return detail::on_device(y, device);
}

ATLAS_INLINE Tensor trunc_normal(const Shape& shape, double std, double a, double b, DType dtype, Generator& g,
                                 Device device) {
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

ATLAS_INLINE Tensor from_blob(void* data, const Shape& shape, DType dtype, std::function<void()> release) {
  const int64_t n = shape.numel();
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(n, item_size(dtype), &bytes), "from_blob", "the size of {} overflows 64 bits", shape);
  check(data != nullptr || n == 0, "from_blob", "null pointer for {}{}", name(dtype), shape);
  check(reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(item_size(dtype)) == 0, "from_blob",
        "the address {:#x} is not a multiple of the {} bytes of {}", reinterpret_cast<uintptr_t>(data),
        item_size(dtype), name(dtype));
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = std::make_shared<Storage>(data, bytes, Device{}, std::move(release));
  impl->shape = shape;
  impl->strides = contiguous_strides(shape);
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

}  // namespace atlas::inline ATLAS_ABI
