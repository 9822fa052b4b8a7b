// Initializers. All draw from default_generator(), one stream per tensor, so a seed gives the same model everywhere.
#pragma once

#include <string_view>
#include <utility>

#include "atlas/nn/state.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
bool& skip_init();
/// Puts `values` (a fresh tensor, float32) into a parameter.
void initialize(Tensor& t, const Tensor& values);
}  // namespace detail

/// While it lives, random initializers on this thread leave the memory as it came: for models whose every value is
/// loaded next. A large model then costs no time to build, nor memory until it is filled.
class SkipInit {
 public:
  SkipInit() : before_(std::exchange(detail::skip_init(), true)) {}
  ~SkipInit() { detail::skip_init() = before_; }
  SkipInit(const SkipInit&) = delete;
  SkipInit& operator=(const SkipInit&) = delete;

 private:
  bool before_;
};

/// Number of inputs that meet in one output value, and of outputs that one input value reaches.
struct Fans {
  int64_t in = 0, out = 0;
};

/// Fans of a weight: [out, in] for a linear layer; out or in channels times the kernel's taps for a convolution.
/// @throws Error for a tensor of fewer than two axes.
Fans compute_fans(const Tensor& weight, Layout layout = Layout::plain);

/// t = value everywhere.
void constant_(Tensor& t, double value);

/// Uniform in [low, high).
void uniform_(Tensor& t, double low, double high);

/// Normal with the given mean and standard deviation.
void normal_(Tensor& t, double mean = 0, double std = 1);

/// Normal with mean 0 and standard deviation `std`, conditioned on lying in [low, high].
void trunc_normal_(Tensor& t, double std = 1, double low = -2, double high = 2);

/// Uniform in ±gain √(3 / fan_in), gain = √(2 / (1 + a²)) (He et al., ICCV 2015; a: slope of a leaky ReLU after).
void kaiming_uniform_(Tensor& t, double a = 0, Layout layout = Layout::plain);
/// Normal with standard deviation √(2 / ((1 + a²) fan)); fan is fan_in, or fan_out to keep the gradient's scale.
void kaiming_normal_(Tensor& t, double a = 0, Layout layout = Layout::plain, bool use_fan_out = false);
/// Uniform in ±gain √(6 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010).
void xavier_uniform_(Tensor& t, double gain = 1, Layout layout = Layout::plain);
/// Normal with standard deviation gain √(2 / (fan_in + fan_out)).
void xavier_normal_(Tensor& t, double gain = 1, Layout layout = Layout::plain);

namespace detail {
/// What linear and convolutional layers start from: weight and bias uniform in ±1/√fan_in.
void default_init(Tensor& weight, Tensor& bias, Layout layout);
void check_size(std::string_view op, std::string_view what, int64_t value, int64_t least = 1);
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/nn/init-inl.h"
#endif
