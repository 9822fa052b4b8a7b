// Layers without parameters: activations, pooling and dropout.
#pragma once

#include <array>
#include <utility>

#include "atlas/nn/module.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

/// y = max(x, 0)
class ReLU : public Module {
 public:
  Tensor forward(const Tensor& x) const override { return relu(x); }
  Tensor forward_owned(Tensor x) const override { return relu(std::move(x)); }
};

/// y = x Φ(x) with the normal distribution function Φ, exact (erf).
class GELU : public Module {
 public:
  Tensor forward(const Tensor& x) const override { return gelu(x); }
  Tensor forward_owned(Tensor x) const override { return gelu(std::move(x)); }
};

/// y = x sigmoid(x)
class SiLU : public Module {
 public:
  Tensor forward(const Tensor& x) const override { return silu(x); }
  Tensor forward_owned(Tensor x) const override { return silu(std::move(x)); }
};

/// Maximum over windows of a map.   x: [B, H, W, C] -> y: [B, OH, OW, C]
class MaxPool2d : public Module {
 public:
  /// @param kernel   side of the window
  /// @param stride   step between windows; 0 means kernel
  /// @param padding  rows and columns of -infinity around the map, at most kernel / 2
  explicit MaxPool2d(int64_t kernel, int64_t stride = 0, int64_t padding = 0)
      : kernel_{kernel, kernel},
        stride_{stride == 0 ? kernel : stride, stride == 0 ? kernel : stride},
        padding_{padding, padding} {}
  Tensor forward(const Tensor& x) const override { return max_pool2d(x, kernel_, stride_, padding_); }

 private:
  std::array<int64_t, 2> kernel_, stride_, padding_;
};

/// In training, zeroes each element with probability p and scales the others by 1 / (1 - p).
class Dropout : public Module {
 public:
  /// @param p  in [0, 1)
  explicit Dropout(double p) : p_(p) { check(p >= 0 && p < 1, "Dropout", "p must be in [0, 1), got {}", p); }
  Tensor forward(const Tensor& x) const override { return dropout(x, p_, training()); }
  double p() const { return p_; }

 private:
  double p_;
};

/// Stochastic depth (Huang et al., ECCV 2016): in training, zeroes whole rows of axis 0 with probability p and scales
/// the others by 1 / (1 - p).
class DropPath : public Module {
 public:
  /// @param p  in [0, 1)
  explicit DropPath(double p) : p_(p) { check(p >= 0 && p < 1, "DropPath", "p must be in [0, 1), got {}", p); }
  Tensor forward(const Tensor& x) const override { return drop_path(x, p_, training()); }
  /// Whether forward() is anything but the identity.
  bool drops() const { return training() && p_ > 0; }
  /// x + forward(gamma f(y)), what a residual block does; in one pass where nothing is dropped (Module::onto).
  /// @param gamma  [C], undefined for ones
  Tensor onto(const Tensor& x, const Module& f, const Tensor& y, const Tensor& gamma = {}) const {
    if (!drops()) return f.onto(x, y, gamma);
    Tensor z = f(y);
    if (gamma.defined()) z = gamma * z;
    z = forward(z);
    return x + std::move(z);
  }
  double p() const { return p_; }

 private:
  double p_;
};

}  // namespace atlas::inline ATLAS_ABI
