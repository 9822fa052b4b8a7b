// Batch normalization of each channel of channels-last maps, given as rows of pixels [rows, channels].
#pragma once

#include <cmath>
#include <cstdint>

#include "atlas/reference/activation.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// mean[c] = sum over rows of x / rows, var[c] = sum over rows of (x - mean)² / rows (biased).
/// @param mean  [channels], and after it, where `with_rest`, what its type lost of the means
template <class T>
void batch_norm_statistics(int64_t rows, int64_t channels, const T* x, bool with_rest, T* mean, T* var) {
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < rows; ++r) sum += x[r * channels + c];
    const double m = sum / static_cast<double>(rows);
    for (int64_t r = 0; r < rows; ++r) squares += (x[r * channels + c] - m) * (x[r * channels + c] - m);
    mean[c] = static_cast<T>(m);
    if (with_rest) mean[channels + c] = static_cast<T>(m - static_cast<double>(mean[c]));
    var[c] = static_cast<T>(squares / static_cast<double>(rows));
  }
}

/// One channel as the two passes below need it: x̂ = (x - mean) rstd and z = x̂ weight + bias.
struct NormalizedChannel {
  double mean, rstd, weight, bias;

  double xhat(double x) const { return (x - mean) * rstd; }
  double z(double x) const { return xhat(x) * weight + bias; }
};

/// Channel c of [channels] vectors; `rest` may be null.
template <class T>
NormalizedChannel normalized_channel(int64_t c, const T* mean, const T* rest, const T* rstd, const T* weight,
                                     const T* bias) {
  const double m = static_cast<double>(mean[c]) + (rest != nullptr ? static_cast<double>(rest[c]) : 0);
  return {m, static_cast<double>(rstd[c]), static_cast<double>(weight[c]), static_cast<double>(bias[c])};
}

/// y = f(x̂ weight + bias) (Ioffe and Szegedy, 2015, algorithm 1), f an activation.
template <class T>
void batch_norm(int64_t rows, int64_t channels, const T* x, const T* mean, const T* rest, const T* rstd,
                const T* weight, const T* bias, Activation f, T* y) {
  for (int64_t c = 0; c < channels; ++c) {
    const NormalizedChannel n = normalized_channel(c, mean, rest, rstd, weight, bias);
    for (int64_t i = c; i < rows * channels; i += channels) y[i] = static_cast<T>(activation(f, n.z(x[i])));
  }
}

/// With dz = dy f'(z):  dbias = sum over rows of dz,  dweight = sum over rows of dz x̂.
/// When mean and rstd depend on x (`batch_statistics`), the derivative is that of layer norm, along rows instead of
/// channels, with E[] the mean over the rows:  dx = weight rstd (dz - E[dz] - x̂ E[dz x̂]).
/// When they are constants, the two means vanish:  dx = weight rstd dz.
template <class T>
void batch_norm_backward(int64_t rows, int64_t channels, const T* x, const T* mean, const T* rest, const T* rstd,
                         const T* weight, const T* bias, Activation f, const T* dy, bool batch_statistics, T* dx,
                         T* dweight, T* dbias) {
  const double share = batch_statistics ? 1 / static_cast<double>(rows) : 0;
  for (int64_t c = 0; c < channels; ++c) {
    const NormalizedChannel n = normalized_channel(c, mean, rest, rstd, weight, bias);
    const auto dz = [&](int64_t i) { return dy[i] * activation_derivative(f, n.z(x[i])); };
    double sum = 0, sum_xhat = 0;
    for (int64_t i = c; i < rows * channels; i += channels) {
      sum += dz(i);
      sum_xhat += dz(i) * n.xhat(x[i]);
    }
    for (int64_t i = c; i < rows * channels; i += channels)
      dx[i] = static_cast<T>(n.weight * n.rstd * (dz(i) - sum * share - n.xhat(x[i]) * sum_xhat * share));
    dweight[c] = static_cast<T>(sum_xhat);
    dbias[c] = static_cast<T>(sum);
  }
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
