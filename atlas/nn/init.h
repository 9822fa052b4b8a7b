// Initializers. All draw from default_generator(), one stream per tensor, so a seed gives the same model everywhere.
#pragma once

#include <cmath>
#include <utility>

#include "atlas/core/rng.h"
#include "atlas/nn/state.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
inline bool& skip_init() {
  thread_local bool skip = false;
  return skip;
}
/// Puts `values` (a fresh tensor, float32) into a parameter.
inline void initialize(Tensor& t, const Tensor& values) {
  copy_elements(t, values);
  t.bump_version();
}
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
inline Fans compute_fans(const Tensor& weight, Layout layout = Layout::plain) {
  const Shape n = published_view(weight, layout).shape();
  check(n.size() >= 2, "init", "fans need a weight of two or more axes, got {}", describe(weight));
  int64_t taps = 1;
  for (int i = 2; i < n.size(); ++i) taps *= n[i];
  return {n[1] * taps, n[0] * taps};
}

/// t = value everywhere.
inline void constant_(Tensor& t, double value) {
  fill_elements(t, value);
  t.bump_version();
}

/// Uniform in [low, high).
inline void uniform_(Tensor& t, double low, double high) {
  if (!detail::skip_init())
    detail::initialize(t, uniform(t.shape(), low, high, float32, default_generator(), Device{}));
}

/// Normal with the given mean and standard deviation.
inline void normal_(Tensor& t, double mean = 0, double std = 1) {
  if (detail::skip_init()) return;
  Tensor values = randn(t.shape(), float32, default_generator(), Device{});
  scale_elements(values, std);
  if (mean != 0) add_elements(values, full({}, mean, float32, Device{}), 1);
  detail::initialize(t, values);
}

/// Normal with mean 0 and standard deviation `std`, conditioned on lying in [low, high].
inline void trunc_normal_(Tensor& t, double std = 1, double low = -2, double high = 2) {
  if (!detail::skip_init())
    detail::initialize(t, trunc_normal(t.shape(), std, low, high, float32, default_generator(), Device{}));
}

/// Uniform in ±gain √(3 / fan_in), gain = √(2 / (1 + a²)) (He et al., ICCV 2015; a: slope of a leaky ReLU after).
inline void kaiming_uniform_(Tensor& t, double a = 0, Layout layout = Layout::plain) {
  const double bound = std::sqrt(6.0 / ((1 + a * a) * static_cast<double>(compute_fans(t, layout).in)));
  uniform_(t, -bound, bound);
}
/// Normal with standard deviation √(2 / ((1 + a²) fan)); fan is fan_in, or fan_out to keep the gradient's scale.
inline void kaiming_normal_(Tensor& t, double a = 0, Layout layout = Layout::plain, bool use_fan_out = false) {
  const Fans fans = compute_fans(t, layout);
  normal_(t, 0, std::sqrt(2.0 / ((1 + a * a) * static_cast<double>(use_fan_out ? fans.out : fans.in))));
}
/// Uniform in ±gain √(6 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010).
inline void xavier_uniform_(Tensor& t, double gain = 1, Layout layout = Layout::plain) {
  const Fans fans = compute_fans(t, layout);
  const double bound = gain * std::sqrt(6.0 / static_cast<double>(fans.in + fans.out));
  uniform_(t, -bound, bound);
}
/// Normal with standard deviation gain √(2 / (fan_in + fan_out)).
inline void xavier_normal_(Tensor& t, double gain = 1, Layout layout = Layout::plain) {
  const Fans fans = compute_fans(t, layout);
  normal_(t, 0, gain * std::sqrt(2.0 / static_cast<double>(fans.in + fans.out)));
}

namespace detail {
/// What linear and convolutional layers start from: weight and bias uniform in ±1/√fan_in.
inline void default_init(Tensor& weight, Tensor& bias, Layout layout) {
  kaiming_uniform_(weight, std::sqrt(5.0), layout);
  const double bound = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(compute_fans(weight, layout).in, 1)));
  if (bias.defined()) uniform_(bias, -bound, bound);
}
inline void check_size(std::string_view op, std::string_view what, int64_t value, int64_t least = 1) {
  check(value >= least, op, "{} must be at least {}, got {}", what, least, value);
}
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI
