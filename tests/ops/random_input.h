// Inputs for the tests of the heavy ops: reproducible values, odd memory layouts, and comparison of two tensors.
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "atlas/core/parallel.h"
#include "atlas/core/rng.h"
#include "atlas/tensor/memory.h"
#include "tests/compare.h"

namespace test {

using namespace atlas;

/// A tensor that was filled on the CPU, on the device that is tested.
inline Tensor on_device(const Tensor& t) {
  Tensor y = empty(t.shape(), t.dtype());
  copy_elements(y, t);
  return y;
}

/// Standard normal values that depend on (seed, index) alone.
inline Tensor random(const Shape& shape, uint64_t seed, DType dtype = float64) {
  Tensor t = empty(shape, float64, Device{});
  const int64_t n = t.numel();
  double* const values = t.data<double>();
  for (int64_t i = 0; i < n; ++i) values[i] = Philox(seed, 0, static_cast<uint64_t>(i)).normal();
  Tensor y = empty(shape, dtype);
  copy_elements(y, t);
  return y;
}

/// The same values in another memory layout: the first two axes swapped in memory, with gaps.
inline Tensor scattered(const Tensor& t) {
  if (t.dim() < 2) {
    Tensor wide = empty({t.numel(), 3}, t.dtype(), t.device());
    Tensor view = raw_view(wide, t.shape(), t.dim() == 0 ? Shape{} : Shape{3}, 0);
    copy_elements(view, t);
    return view;
  }
  Shape swapped = t.shape();
  std::swap(swapped[0], swapped[1]);
  swapped[t.dim() - 1] += t.dim() > 2 ? 2 : 0;
  Tensor memory = empty(swapped, t.dtype(), t.device());
  Shape strides = memory.strides();
  std::swap(strides[0], strides[1]);
  Tensor view = raw_view(memory, t.shape(), strides, 0);
  copy_elements(view, t);
  return view;
}

/// Largest |a - b| / (1 + |b|); infinite when the shapes differ.
inline double difference(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape())) return INFINITY;
  Tensor x = empty(a.shape(), float64, Device{}), y = empty(b.shape(), float64, Device{});
  copy_elements(x, a);
  copy_elements(y, b);
  const int64_t n = x.numel();
  const double *p = x.data<double>(), *q = y.data<double>();
  double worst = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double d = std::abs(p[i] - q[i]) / (1 + std::abs(q[i]));
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

/// Runs f with 1, 2 and 4 threads and tells whether its result is the same to the bit.
template <class F>
bool same_for_any_threads(const F& f) {
  const int before = num_threads();
  bool same = true;
  set_num_threads(1);
  const std::vector<Tensor> expected = f();
  for (int threads : {2, 4}) {
    set_num_threads(threads);
    const std::vector<Tensor> got = f();
    for (size_t i = 0; i < got.size(); ++i) same = same && same_bits(expected[i], got[i]);
  }
  set_num_threads(before);
  return same;
}

/// The text of the error that f raises; empty when it raises none. CUDA devices take bfloat16 beside the other floats:
/// texts are given as the CPU's are.
template <class F>
std::string error_of(const F& f) {
  std::string text;
  try {
    f();
  } catch (const Error& e) {
    text = e.what();
  }
  for (const auto& [cuda, cpu] :
       {std::pair{"float32, bfloat16 or", "float32 or"}, {"float32, bfloat16, ", "float32, "}})
    if (const size_t at = text.find(cuda); at != std::string::npos)
      text.replace(at, std::string_view(cuda).size(), cpu);
  return text;
}

}  // namespace test
