// Normalization layers over the last (channel) axis.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/nn/init.h"
#include "atlas/nn/module.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/unary.h"
#include "atlas/ops/watch.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

/// y = (x - E[x]) / √(Var[x] + eps) · weight + bias over the last axis (Ba et al., 2016).   x: [..., C] -> y: [..., C]
class LayerNorm : public Module {
 public:
  explicit LayerNorm(int64_t channels, double eps = 1e-5) : eps_(eps) {
    detail::check_size("LayerNorm", "channels", channels);
    weight = empty({channels});
    bias = empty({channels});
    constant_(weight, 1);
    constant_(bias, 0);
    register_parameter("weight", weight);
    register_parameter("bias", bias);
  }
  Tensor forward(const Tensor& x) const override { return layer_norm(x, weight, bias, eps_); }

  double eps() const { return eps_; }
  Tensor weight, bias;  // [C]

 private:
  double eps_;
};

/// Batch normalization of each channel (Ioffe and Szegedy, ICML 2015).   x: [..., C] -> same shape
///
/// Training uses the batch's statistics and moves the running ones by `momentum` (unbiased variance); inference uses
/// the running ones.
class BatchNorm2d : public Module {
 public:
  explicit BatchNorm2d(int64_t channels, double eps = 1e-5, double momentum = 0.1) : eps_(eps), momentum_(momentum) {
    detail::check_size("BatchNorm2d", "channels", channels);
    for (Tensor* t : {&weight, &bias, &running_mean, &running_var}) *t = empty({channels});
    num_batches_tracked = empty({}, int64);
    constant_(weight, 1);
    constant_(bias, 0);
    constant_(running_mean, 0);
    constant_(running_var, 1);
    constant_(num_batches_tracked, 0);
    register_parameter("weight", weight);
    register_parameter("bias", bias);
    register_buffer("running_mean", running_mean);
    register_buffer("running_var", running_var);
    register_buffer("num_batches_tracked", num_batches_tracked);
  }
  Tensor forward(const Tensor& x) const override { return normalized(x, Activation::none); }
  /// activation((*this)(x)), in the same passes over memory.
  Tensor activated(const Tensor& x, Activation activation) const {
    if (activation == Activation::none) return (*this)(x);
    return detail::joined_unless_watched([&] { return normalized(x, activation); },
                                         [&] { return activate((*this)(x), activation); });
  }

  double eps() const { return eps_; }
  Tensor weight, bias, running_mean, running_var;  // [C]
  Tensor num_batches_tracked;                      // int64 []

 private:
  Tensor normalized(const Tensor& x, Activation activation) const {
    Tensor y = batch_norm(x, weight, bias, running_mean, running_var, training(), momentum_, eps_, activation);
    if (training()) count_batch(num_batches_tracked);
    return y;
  }

  double eps_, momentum_;
};

}  // namespace atlas::inline ATLAS_ABI
