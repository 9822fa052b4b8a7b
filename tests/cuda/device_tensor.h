// Tensors for tests that call CUDA kernels directly: made on the host, rounded, moved there and compared here.
#pragma once

#include "atlas/core/parallel.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/random_input.h"

namespace test {

using namespace atlas;

inline Tensor converted(const Tensor& t, DType dtype, Device device) {
  Tensor y = empty(t.shape(), dtype, device);
  copy_elements(y, t);
  return y;
}

/// float32 of what bfloat16 holds of t.
inline Tensor rounded(const Tensor& t) { return converted(converted(t, bfloat16, {}), float32, {}); }

/// A copy on the first CUDA device.
inline Tensor on_gpu(const Tensor& t) { return converted(t, t.dtype(), {DeviceType::cuda, 0}); }
inline Tensor on_gpu(const Tensor& t, DType dtype) { return on_gpu(converted(t, dtype, {})); }
/// As float32 on the host.
inline Tensor from_device(const Tensor& t) { return converted(converted(t, t.dtype(), {}), float32, {}); }

/// |a - b| / |b|, of all elements together; infinite when an element is not finite.
inline double relative_error(const Tensor& a, const Tensor& b) {
  const Tensor x = from_device(a), y = from_device(b);
  double wrong = 0, size = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double p = x.data<float>()[i], q = y.data<float>()[i];
    if (!std::isfinite(p) || !std::isfinite(q)) return INFINITY;
    wrong += (p - q) * (p - q);
    size += q * q;
  }
  return size == 0 ? std::sqrt(wrong) : std::sqrt(wrong / size);
}

}  // namespace test
