// The standard normal distribution: its distribution function and quantiles.
// Not in atlas.h: include it by name.
#pragma once

#include <cmath>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::detail {

/// P(X <= x) for a standard normal X, with full relative precision in the lower tail.
inline double normal_cdf(double x) { return 0.5 * std::erfc(-x * 0.7071067811865476); }

/// The x with normal_cdf(x) = p, for p in (0, 1): a rational first guess in t = sqrt(-2 log p) (Abramowitz and Stegun,
/// 26.2.23, error below 4.5e-4), then Halley steps on the distribution function, each tripling the number of digits.
inline double normal_quantile(double p) {
  if (p > 0.5) return -normal_quantile(1 - p);
  const double t = std::sqrt(-2 * std::log(p));
  double x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
  for (int i = 0; i < 2; ++i) {
    const double e = (normal_cdf(x) - p) * 2.5066282746310002 * std::exp(0.5 * x * x);  // error over density
    x -= e / (1 + 0.5 * x * e);
  }
  return x;
}

}  // namespace atlas::inline ATLAS_ABI::detail
