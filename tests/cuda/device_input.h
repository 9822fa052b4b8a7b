// Inputs for the tests that hold CUDA kernels to those of the CPU: the same numbers on both.
#pragma once

#include <cmath>

#include "atlas/core/rng.h"
#include "atlas/tensor/memory.h"

namespace test {

using namespace atlas;

inline const Device kHost{};
inline Device gpu() { return Device::parse("cuda:0"); }

/// A copy in another dtype, on another device.
inline Tensor copied(const Tensor& t, DType dtype, Device device) {
  Tensor y = empty(t.shape(), dtype, device);
  copy_elements(y, t);
  return y;
}
/// What the CPU computes with where CUDA has `dtype`.
inline DType host_type(DType dtype) { return dtype == bfloat16 ? float32 : dtype; }

/// One operand: `device` of some dtype, and the very same numbers on the CPU, as float32 for bfloat16.
struct Operand {
  Tensor host, device;
  Operand() = default;
  Operand(const Tensor& values, DType dtype) : device(copied(values, dtype, gpu())) {
    host = copied(copied(values, dtype, kHost), host_type(dtype), kHost);
  }
};
/// Normal values that depend on (seed, index) alone, times `scale`, plus `offset`.
inline Operand operand(const Shape& shape, uint64_t seed, DType dtype, double scale = 1, double offset = 0) {
  Tensor t = empty(shape, float64, kHost);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<double>()[i] = offset + scale * Philox(seed, 0, static_cast<uint64_t>(i)).normal();
  return {t, dtype};
}
/// Outputs of one shape, not yet written.
inline Operand output(const Shape& shape, DType dtype) {
  Operand o;
  o.host = empty(shape, host_type(dtype), kHost);
  o.device = empty(shape, dtype, gpu());
  return o;
}

/// Largest |device - host| / (1 + |host|); infinite for a NaN on one side alone.
inline double difference(const Operand& o) {
  const Tensor x = copied(o.device, float64, kHost), y = copied(o.host, float64, kHost);
  double worst = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double p = x.data<double>()[i], q = y.data<double>()[i];
    if (std::isnan(p) && std::isnan(q)) continue;
    const double d = p == q ? 0 : std::abs(p - q) / (1 + std::abs(q));
    if (std::isnan(d)) return INFINITY;
    worst = std::max(worst, d);
  }
  return worst;
}
/// How far results in `dtype` may be from the CPU's: rounding to bfloat16 alone is 2^-9.
inline double tolerance(DType dtype, double of_float32 = 2e-5) {
  return dtype == bfloat16 ? 4e-3 + of_float32 : dtype == float32 ? of_float32 : 1e-11;
}

inline constexpr DType kFloats[] = {float32, float64, bfloat16};

}  // namespace test
