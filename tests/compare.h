// What tests compare with: tensors to the bit or by their largest difference, and the texts of errors.
#pragma once

#include <cmath>
#include <cstring>
#include <string>

#include "atlas/core/error.h"
#include "atlas/nn/state.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace test {

/// The text of the error that f raises; "no error" when it raises none.
template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const atlas::Error& e) {
    return e.what();
  }
  return "no error";
}

/// True when the text has this part.
inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A contiguous copy on the CPU, where tests read elements.
inline atlas::Tensor on_cpu(const atlas::Tensor& t) {
  atlas::Tensor y = atlas::empty(t.shape(), t.dtype(), atlas::Device{});
  atlas::copy_elements(y, t);
  return y;
}

/// True when both have one shape and dtype and hold the same bits, or neither is defined.
inline bool same_bits(const atlas::Tensor& a, const atlas::Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const atlas::Tensor x = on_cpu(a), y = on_cpu(b);
  const auto bytes = static_cast<size_t>(x.numel() * atlas::item_size(x.dtype()));
  return bytes == 0 || std::memcmp(x.raw(), y.raw(), bytes) == 0;
}

/// True when both have the same names, and tensors of the same bits.
inline bool same_bits(const atlas::StateDict& a, const atlas::StateDict& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, t] : a) {
    const auto it = b.find(name);
    if (it == b.end() || !same_bits(t, it->second)) return false;
  }
  return true;
}

/// Largest |a - b|; infinite when the shapes differ, NaN when a difference is.
inline double largest_difference(const atlas::Tensor& a, const atlas::Tensor& b) {
  if (a.shape() != b.shape()) return INFINITY;
  atlas::Tensor x = atlas::empty(a.shape(), atlas::float64, atlas::Device{});
  atlas::Tensor y = atlas::empty(b.shape(), atlas::float64, atlas::Device{});
  atlas::copy_elements(x, a);
  atlas::copy_elements(y, b);
  const int64_t n = x.numel();
  const double *p = x.data<double>(), *q = y.data<double>();
  double most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double d = std::abs(p[i] - q[i]);
    if (!(d <= most)) most = d;
    if (std::isnan(d)) return d;
  }
  return most;
}

}  // namespace test
