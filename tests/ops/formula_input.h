// Helpers for the tests of fused ops: inputs by formula (so that tables of expected values computed elsewhere need no
// tables of inputs), an op's result with its gradients, and the comparison of a fused op with its composite.
#pragma once

#include <functional>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/random_input.h"

namespace test {

/// scale * sin(step * i + start), i counting in row-major order.
inline Tensor wave(const Shape& shape, double step, double start = 0, double scale = 1, DType dtype = float64) {
  Tensor t = empty(shape, float64, Device{}), y = empty(shape, dtype);
  const int64_t n = t.numel();
  double* const values = t.data<double>();
  for (int64_t i = 0; i < n; ++i) values[i] = scale * std::sin(step * static_cast<double>(i) + start);
  copy_elements(y, t);
  return y;
}

/// A float64 tensor of these values.
inline Tensor table(const std::vector<double>& values, const Shape& shape) {
  Tensor t = empty(shape, float64, Device{});
  check(static_cast<size_t>(t.numel()) == values.size(), "table", "{} values for {}", values.size(), shape.str());
  std::copy(values.begin(), values.end(), t.data<double>());
  return on_device(t);
}

using Op = std::function<Tensor(const std::vector<Tensor>&)>;

/// The op's result y and the gradients of sum(y * wave(1.1 i + 0.4)) by each floating input.
inline std::vector<Tensor> with_gradients(const Op& op, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves, all;
  for (const Tensor& t : inputs) {
    all.push_back(t.detach());
    if (is_floating(t.dtype())) leaves.push_back(all.back().set_requires_grad());
  }
  const Tensor y = op(all);
  std::vector<Tensor> result{y.detach()};
  for (Tensor& g : grad({y}, leaves, {wave(y.shape(), 1.1, 0.4, 1, y.dtype())})) result.push_back(std::move(g));
  return result;
}

/// Largest difference between two ops' results and gradients, on the inputs as they are and in another memory layout.
inline double op_difference(const Op& a, const Op& b, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> spread;
  for (const Tensor& t : inputs) spread.push_back(scattered(t));
  const auto x = with_gradients(a, inputs), y = with_gradients(b, inputs), z = with_gradients(a, spread);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) worst = std::max({worst, difference(x[i], y[i]), difference(z[i], y[i])});
  return worst;
}

}  // namespace test
