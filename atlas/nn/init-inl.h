// Bodies of init.h.
#pragma once

#include <cmath>
#include <utility>

#include "atlas/core/rng.h"
#include "atlas/nn/init.h"
#include "atlas/nn/state.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE bool& skip_init() {
  thread_local bool skip = false;
  return skip;
}

ATLAS_INLINE void initialize(Tensor& t, const Tensor& values) {
  copy_elements(t, values);
  t.bump_version();
}

}  // namespace detail

ATLAS_INLINE Fans compute_fans(const Tensor& weight, Layout layout) {
  const Shape n = published_view(weight, layout).shape();
  check(n.size() >= 2, "init", "fans need a weight of two or more axes, got {}", describe(weight));
  int64_t taps = 1;
  for (int i = 2; i < n.size(); ++i) taps *= n[i];
  return {n[1] * taps, n[0] * taps};
}

ATLAS_INLINE void constant_(Tensor& t, double value) {
  fill_elements(t, value);
  t.bump_version();
}

ATLAS_INLINE void uniform_(Tensor& t, double low, double high) {
  if (!detail::skip_init())
    detail::initialize(t, uniform(t.shape(), low, high, float32, default_generator(), Device{}));
}

ATLAS_INLINE void normal_(Tensor& t, double mean, double std) {
  if (detail::skip_init()) return;
  Tensor values = randn(t.shape(), float32, default_generator(), Device{});
  scale_elements(values, std);
  if (mean != 0) add_elements(values, full({}, mean, float32, Device{}), 1);
  detail::initialize(t, values);
}

ATLAS_INLINE void trunc_normal_(Tensor& t, double std, double low, double high) {
  if (!detail::skip_init())
    detail::initialize(t, trunc_normal(t.shape(), std, low, high, float32, default_generator(), Device{}));
}

ATLAS_INLINE void kaiming_uniform_(Tensor& t, double a, Layout layout) {
  const double bound = std::sqrt(6.0 / ((1 + a * a) * static_cast<double>(compute_fans(t, layout).in)));
  uniform_(t, -bound, bound);
}

ATLAS_INLINE void kaiming_normal_(Tensor& t, double a, Layout layout, bool use_fan_out) {
  const Fans fans = compute_fans(t, layout);
  normal_(t, 0, std::sqrt(2.0 / ((1 + a * a) * static_cast<double>(use_fan_out ? fans.out : fans.in))));
}

ATLAS_INLINE void xavier_uniform_(Tensor& t, double gain, Layout layout) {
  const Fans fans = compute_fans(t, layout);
  const double bound = gain * std::sqrt(6.0 / static_cast<double>(fans.in + fans.out));
  uniform_(t, -bound, bound);
}

ATLAS_INLINE void xavier_normal_(Tensor& t, double gain, Layout layout) {
  const Fans fans = compute_fans(t, layout);
  normal_(t, 0, gain * std::sqrt(2.0 / static_cast<double>(fans.in + fans.out)));
}

namespace detail {

ATLAS_INLINE void default_init(Tensor& weight, Tensor& bias, Layout layout) {
  kaiming_uniform_(weight, std::sqrt(5.0), layout);
  const double bound = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(compute_fans(weight, layout).in, 1)));
  if (bias.defined()) uniform_(bias, -bound, bound);
}

ATLAS_INLINE void check_size(std::string_view op, std::string_view what, int64_t value, int64_t least) {
  check(value >= least, op, "{} must be at least {}, got {}", what, least, value);
}

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI
