// Weights from a formula.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "atlas/core/hash.h"
#include "atlas/core/parallel.h"
#include "atlas/io/formula.h"
#include "atlas/nn/module.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::io {

ATLAS_INLINE uint64_t splitmix64(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

ATLAS_INLINE double formula_uniform(uint64_t hash, int64_t i) {
  const uint64_t z = splitmix64(hash + static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u);
  return static_cast<double>(z >> 11) * 0x1p-52 - 1;
}

ATLAS_INLINE FormulaRule formula_rule(std::string_view name, const Shape& shape) {
  const size_t dot = name.rfind('.');
  const std::string_view leaf = dot == std::string_view::npos ? name : name.substr(dot + 1);
  if (leaf == "running_var") return {1, 0.5};
  if (leaf == "running_mean") return {0, 0.1};
  if (leaf == "num_batches_tracked") return {0, 0};
  if (leaf == "A_log") return {0, 0.1, true};
  if (leaf == "D") return {1, 0.1};
  if (leaf == "gamma_1" || leaf == "gamma_2") return {0.5, 0.1};
  if (shape.size() == 1 && leaf == "weight") return {1, 0.1};
  if (shape.size() == 1 && leaf == "bias") return {0, 0.1};
  int64_t fan_in = 1;
  for (int i = 1; i < shape.size(); ++i) fan_in *= shape[i];
  return {0, std::sqrt(3.0 / static_cast<double>(fan_in))};
}

ATLAS_INLINE void formula_fill(Tensor& t, std::string_view name, const FormulaRule& rule) {
  check(t.dim() <= 4, "formula", "'{}' has more than four axes: {}", name, describe(t));
  if (t.device().is_cuda()) {
    Tensor host = empty(t.shape(), t.dtype(), Device{});
    formula_fill(host, name, rule);
    copy_elements(t, host);
    return t.bump_version();
  }
  int64_t n[4] = {1, 1, 1, 1}, step[4] = {0, 0, 0, 0};
  for (int i = 0; i < t.dim(); ++i) {
    n[4 - t.dim() + i] = t.shape()[i];
    step[4 - t.dim() + i] = t.strides()[i];
  }
  const uint64_t hash = fnv1a64(name);
  const int64_t rows = n[0] * n[1] * n[2], width = n[3];
  visit_number(t.dtype(), "formula", [&](auto tag) {
    using T = decltype(tag);
    T* const data = t.data<T>();
    parallel_for(rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(width, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        T* const row = data + r / (n[1] * n[2]) * step[0] + r / n[2] % n[1] * step[1] + r % n[2] * step[2];
        for (int64_t j = 0; j < width; ++j) {
          double v = rule.offset + rule.scale * formula_uniform(hash, r * width + j);
          if (rule.log_column) v += std::log(static_cast<double>(j + 1));
          row[j * step[3]] = static_cast<T>(v);
        }
      }
    });
  });
  t.bump_version();
}

ATLAS_INLINE void formula_fill(const Module& model) {
  for (const StateEntry& e : model.state_entries()) {
    Tensor t = published_view(e.tensor, e.layout);
    formula_fill(t, e.name, formula_rule(e.name, t.shape()));
  }
}

ATLAS_INLINE Tensor formula_tensor(std::string_view name, const Shape& shape, DType dtype) {
  Tensor t = empty(shape, dtype);
  formula_fill(t, name, {});
  return t;
}

ATLAS_INLINE Tensor formula_image(int64_t batch, int64_t height, int64_t width, DType dtype, std::string_view name) {
  Tensor image = empty({batch, height, width, 3}, dtype);
  Tensor published = published_view(image, Layout::conv2d);
  formula_fill(published, name, {});
  return image;
}

}  // namespace atlas::inline ATLAS_ABI::io
