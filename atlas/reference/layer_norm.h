// Layer normalization of the rows of a matrix.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// Mean and 1 / √(variance + eps) of one row of `channels` numbers, with the biased variance.
struct RowStatistics {
  double mean = 0, rstd = 0;

  template <class T>
  RowStatistics(int64_t channels, const T* x, double eps) {
    double variance = 0;
    for (int64_t c = 0; c < channels; ++c) mean += x[c] / static_cast<double>(channels);
    for (int64_t c = 0; c < channels; ++c) variance += (x[c] - mean) * (x[c] - mean) / static_cast<double>(channels);
    rstd = 1 / std::sqrt(variance + eps);
  }
};

/// y = x̂ weight + bias with x̂ = (x - mean) rstd, row by row (Ba, Kiros and Hinton, 2016, eq. 4).
/// @param x, y  [rows, channels]   @param weight, bias  [channels]
/// @param mean, rstd  [rows], kept for backward
template <class T>
void layer_norm(int64_t rows, int64_t channels, const T* x, const T* weight, const T* bias, double eps, T* y, T* mean,
                T* rstd) {
  for (int64_t r = 0; r < rows; ++r) {
    const RowStatistics s(channels, x + r * channels, eps);
    for (int64_t c = 0; c < channels; ++c)
      y[r * channels + c] = static_cast<T>((x[r * channels + c] - s.mean) * s.rstd * weight[c] + bias[c]);
    mean[r] = static_cast<T>(s.mean);
    rstd[r] = static_cast<T>(s.rstd);
  }
}

/// Every x of a row moves its mean and its variance, too. With g = dy weight and <.> the mean over the row,
///   ∂x̂_i / ∂x_j = rstd (δ_ij - 1/C - x̂_i x̂_j / C), so  dx = rstd (g - E[g] - x̂ E[g x̂]);
///   dweight = sum over rows of dy x̂,  dbias = sum over rows of dy.
/// The mean is taken again, because the stored one is rounded. All outputs are overwritten.
template <class T>
void layer_norm_backward(int64_t rows, int64_t channels, const T* x, const T* weight, const T* rstd, const T* dy, T* dx,
                         T* dweight, T* dbias) {
  const double count = static_cast<double>(channels);
  std::vector<double> sum_weight(channels), sum_bias(channels);
  for (int64_t r = 0; r < rows; ++r) {
    const T *xr = x + r * channels, *dyr = dy + r * channels;
    const double mean = RowStatistics(channels, xr, 1).mean, scale = rstd[r];
    double mean_g = 0, mean_gx = 0;
    for (int64_t c = 0; c < channels; ++c) {
      const double g = static_cast<double>(dyr[c]) * weight[c], xhat = (xr[c] - mean) * scale;
      mean_g += g / count;
      mean_gx += g * xhat / count;
      sum_weight[c] += dyr[c] * xhat;
      sum_bias[c] += dyr[c];
    }
    for (int64_t c = 0; c < channels; ++c) {
      const double g = static_cast<double>(dyr[c]) * weight[c], xhat = (xr[c] - mean) * scale;
      dx[r * channels + c] = static_cast<T>(scale * (g - mean_g - xhat * mean_gx));
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    dweight[c] = static_cast<T>(sum_weight[c]);
    dbias[c] = static_cast<T>(sum_bias[c]);
  }
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
