// Bodies of memory.h: loops for every pair of element types, compiled once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/core/profile.h"
#include "atlas/core/workspace.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/strided.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE bool overlaps(const Tensor& t) {
  if (t.is_contiguous()) return false;
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride, length
  for (int i = 0; i < t.dim(); ++i)
    if (t.shape()[i] > 1) axes.emplace_back(t.strides()[i], t.shape()[i]);
  std::sort(axes.begin(), axes.end());
  int64_t reach = 0;  // offset of the last element so far
  for (const auto& [stride, length] : axes) {
    if (stride <= reach) return true;
    reach += stride * (length - 1);
  }
  return false;
}

ATLAS_INLINE std::string_view refuses_number(DType type, double number) {
  if (is_floating(type)) return "";
  const bool whole = number == std::trunc(number) && std::isfinite(number);
  if (type == uint8) return whole && number >= 0 && number <= 255 ? "" : "takes whole numbers from 0 to 255";
  if (type == boolean) return number == 0 || number == 1 ? "" : "takes 0 and 1";
  if (!whole) return "takes whole numbers";
  return std::abs(number) <= 0x1p53 ? "" : "takes numbers up to 2^53 (larger ones by from_vector<int64_t>())";
}

ATLAS_INLINE void check_number(const char* op, const Tensor& t, double number) {
  check(t.defined(), op, "the operand is undefined");
  const std::string_view takes = refuses_number(t.dtype(), number);
  check(takes.empty(), op, "{} {}, got {} (floats take any: .to(atlas::float32))", describe(t), takes, number);
}

/// y[i] = the element at `bits`, for n elements of Word's size that lie `step` elements apart.
template <class Word>
void fill_row(char* y_bytes, int64_t step, const char* bits, int64_t n) {
  Word* y = reinterpret_cast<Word*>(y_bytes);
  Word v;
  std::memcpy(&v, bits, sizeof v);
  for (int64_t i = 0; i < n; ++i) y[i * step] = v;
}

/// y[i] = x[i] for n elements that lie y_step and x_step elements apart.
template <class To, class From>
void copy_row(char* y_bytes, int64_t y_step, const char* x_bytes, int64_t x_step, int64_t n) {
  To* y = reinterpret_cast<To*>(y_bytes);
  const From* x = reinterpret_cast<const From*>(x_bytes);
  if (y_step == 1 && x_step == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = convert<To>(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * y_step] = convert<To>(x[i * x_step]);
  }
}
}  // namespace detail

ATLAS_INLINE void copy_elements(Tensor& dst, const Tensor& src) {
  const ProfileScope profile("copy", 0, dst, src);
  check(broadcast_shapes(dst, src, "copy") == dst.shape(), "copy", "{} does not broadcast to {}", describe(src),
        describe(dst));
  if constexpr (kWithCuda)
    if (dst.device().is_cuda() || src.device().is_cuda()) return cuda::copy_elements(dst, src);
  if (dst.dtype() == src.dtype() && dst.shape() == src.shape() && dst.is_contiguous() && src.is_contiguous()) {
    const int64_t bytes = dst.numel() * item_size(dst.dtype());
    char* to = static_cast<char*>(dst.raw());
    const char* from = static_cast<const char*>(src.raw());
    parallel_for(bytes, 1 << 20,
                 [&](int64_t a, int64_t b) { std::memmove(to + a, from + a, static_cast<size_t>(b - a)); });
    return;
  }
  // Only the loop over a row is compiled for every pair of types.
  using CopyRow = void (*)(char*, int64_t, const char*, int64_t, int64_t);
  const CopyRow copy_row = visit_any(dst.dtype(), [&](auto to) -> CopyRow {
    return visit_any(src.dtype(), [&](auto from) -> CopyRow { return detail::copy_row<decltype(to), decltype(from)>; });
  });
  char* to = static_cast<char*>(dst.raw());
  const char* from = static_cast<const char*>(src.raw());
  const int64_t to_size = item_size(dst.dtype()), from_size = item_size(src.dtype());
  const StridedLoop<2> loop(dst.shape(), {dst.strides(), broadcast_strides(src.shape(), src.strides(), dst.shape())});
  loop.for_each([&](const auto& o, int64_t n, const auto& step) {
    copy_row(to + o[0] * to_size, step[0], from + o[1] * from_size, step[1], n);
  });
}

ATLAS_INLINE void fill_elements(Tensor& dst, double value, const char* op) {
  detail::check_number(op, dst, value);
  if constexpr (kWithCuda)
    if (on_cuda(op, dst)) return cuda::fill_elements(dst, value);
  char bits[8];  // of one element
  visit_any(dst.dtype(), [&](auto tag) {
    const auto v = convert<decltype(tag)>(value);
    std::memcpy(bits, &v, sizeof v);
  });
  const int64_t size = item_size(dst.dtype());
  const auto fill_row = size == 8   ? detail::fill_row<uint64_t>
                        : size == 4 ? detail::fill_row<uint32_t>
                        : size == 2 ? detail::fill_row<uint16_t>
                                    : detail::fill_row<uint8_t>;
  char* y = static_cast<char*>(dst.raw());
  StridedLoop<1>(dst.shape(), {dst.strides()}).for_each([&](const auto& o, int64_t n, const auto& step) {
    fill_row(y + o[0] * size, step[0], bits, n);
  });
}

ATLAS_INLINE void add_elements(Tensor& dst, const Tensor& src, double alpha) {
  const ProfileScope profile("add_", 0, dst, src);
  check(dst.dtype() == src.dtype(), "add_", "dtypes differ: {} and {}", describe(dst), describe(src));
  check(broadcast_shapes(dst, src, "add_") == dst.shape(), "add_", "{} does not broadcast to {}", describe(src),
        describe(dst));
  check(is_floating(dst.dtype()) || (std::abs(alpha) <= 0x1p53 && alpha == std::trunc(alpha)), "add_",
        "{} is no factor for {}: integers take whole ones", alpha, describe(dst));
  if constexpr (kWithCuda)
    if (on_cuda("add_", dst, src)) return cuda::add_elements(dst, src, alpha);
  const StridedLoop<2> loop(dst.shape(), {dst.strides(), broadcast_strides(src.shape(), src.strides(), dst.shape())});
  visit_number(dst, "add_", [&](auto tag) {
    using T = decltype(tag);
    T* to = dst.data<T>();
    const T* from = src.data<T>();
    using Factor = std::conditional_t<std::is_integral_v<T>, int64_t, T>;
    const Factor a = convert<Factor>(alpha);
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

ATLAS_INLINE void scale_elements(Tensor& dst, double factor) {
  detail::check_number("mul_", dst, factor);
  if constexpr (kWithCuda)
    if (on_cuda("mul_", dst)) return cuda::scale_elements(dst, factor);
  const StridedLoop<1> loop(dst.shape(), {dst.strides()});
  visit_number(dst, "mul_", [&](auto tag) {
    using T = decltype(tag);
    T* y = dst.data<T>();
    using Factor = std::conditional_t<std::is_integral_v<T>, int64_t, T>;
    const Factor f = convert<Factor>(factor);
    loop.for_each([&](const auto& o, int64_t n, const auto& step) {
      for (int64_t i = 0; i < n; ++i) y[o[0] + i * step[0]] = static_cast<T>(y[o[0] + i * step[0]] * f);
    });
  });
}

namespace detail {

/// The axes of `src`, sorted by what sum_to_elements does with them.
struct SumAxes {
  Shape kept, kept_src, kept_dst;  // lengths, strides in src, strides in dst
  Shape gone, gone_src;            // lengths and strides in src of the axes that are summed
  bool last_is_gone = false;       // the last axis longer than 1 is summed

  SumAxes(const Tensor& dst, const Tensor& src) {
    const int shift = src.dim() - dst.dim();
    for (int i = 0; i < src.dim(); ++i) {
      const int64_t n = src.shape()[i];
      if (n == 1) continue;
      last_is_gone = i < shift || dst.shape()[i - shift] == 1;
      if (last_is_gone) {
        gone.push_back(n);
        gone_src.push_back(src.strides()[i]);
      } else {
        kept.push_back(n);
        kept_src.push_back(src.strides()[i]);
        kept_dst.push_back(dst.strides()[i - shift]);
      }
    }
  }
};

template <class T>
void add_row(double* sum, const T* x, int64_t n, int64_t step) {
  if (step == 1) {
    for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<double>(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<double>(x[i * step]);
  }
}

template <class T>
void sum_to(T* to, const T* from, const SumAxes& axes) {
  const int64_t rows = axes.gone.numel(), width = axes.kept.numel();
  const StridedLoop<1> gone(axes.gone, {axes.gone_src});
  const StridedLoop<2> kept(axes.kept, {axes.kept_dst, axes.kept_src});
  if (axes.last_is_gone) {
    // Sums along memory: one element of dst at a time.
    const auto element = [&](const T* x) {
      double sum = 0;
      gone.for_each_serial([&](const auto& o, int64_t n, const auto& step) {
        for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[o[0] + i * step[0]]);
      });
      return static_cast<T>(sum);
    };
    kept.for_each(
        [&](const auto& o, int64_t n, const auto& step) {
          for (int64_t i = 0; i < n; ++i) to[o[0] + i * step[0]] = element(from + o[1] + i * step[1]);
        },
        std::max<int64_t>(1, 16384 / rows));
  } else if (width >= 2048) {
    // Sums of wide rows: stretches of the row in parallel, each through all rows.
    kept.for_each(
        [&](const auto& o, int64_t n, const auto& step) {
          double sum[512];
          for (int64_t begin = 0; begin < n; begin += 512) {
            const int64_t m = std::min<int64_t>(512, n - begin);
            std::fill_n(sum, m, 0.0);
            gone.for_each_serial([&](const auto& r, int64_t count, const auto& s) {
              for (int64_t j = 0; j < count; ++j)
                add_row(sum, from + o[1] + begin * step[1] + r[0] + j * s[0], m, step[1]);
            });
            for (int64_t i = 0; i < m; ++i) to[o[0] + (begin + i) * step[0]] = static_cast<T>(sum[i]);
          }
        },
        512);
  } else {
    // Sums of many narrow rows: pieces of rows in parallel, each with its own sums, which are added in order at the
    // end.
    const int64_t grain = std::max<int64_t>({1, 32768 / width, (rows + 63) / 64}), pieces = (rows + grain - 1) / grain;
    double* sums = workspace<double>(pieces * width, 7);
    const Shape packed = contiguous_strides(axes.kept);
    const StridedLoop<2> row(axes.kept, {packed, axes.kept_src});
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      double* sum = sums + begin / grain * width;
      std::fill_n(sum, width, 0.0);
      for (int64_t r = begin; r < end; ++r) {
        const T* x = from + gone.offsets(r)[0];
        row.for_each_serial(
            [&](const auto& o, int64_t n, const auto& step) { add_row(sum + o[0], x + o[1], n, step[1]); });
      }
    });
    StridedLoop<2>(axes.kept, {axes.kept_dst, packed}).for_each_serial([&](const auto& o, int64_t n, const auto& step) {
      for (int64_t i = 0; i < n; ++i) {
        double total = 0;
        for (int64_t p = 0; p < pieces; ++p) total += sums[p * width + o[1] + i * step[1]];
        to[o[0] + i * step[0]] = static_cast<T>(total);
      }
    });
  }
}

}  // namespace detail

ATLAS_INLINE void sum_to_elements(Tensor& dst, const Tensor& src) {
  check(dst.dtype() == src.dtype(), "sum_to", "dtypes differ: {} and {}", describe(dst), describe(src));
  check(dst.dim() <= src.dim() && broadcast_shapes(dst, src, "sum_to") == src.shape(), "sum_to",
        "{} does not broadcast to {}", describe(dst), describe(src));
  if (src.numel() == 0) {
    fill_elements(dst, 0);
  } else if (dst.numel() == src.numel()) {  // the shapes differ by leading ones at most
    const auto last = [&](const Shape& s) { return Shape(std::vector<int64_t>(s.end() - dst.dim(), s.end())); };
    copy_elements(dst, raw_view(src, dst.shape(), last(src.strides()), src.offset()));
  } else {
    if constexpr (kWithCuda)
      if (on_cuda("sum_to", dst, src)) return cuda::sum_to_elements(dst, src);
    visit_float(dst, "sum_to", [&](auto tag) {
      using T = decltype(tag);
      detail::sum_to(dst.data<T>(), src.data<T>(), detail::SumAxes(dst, src));
    });
  }
}

}  // namespace atlas::inline ATLAS_ABI
