// Two-dimensional convolution of channels-last images, written as the list of its products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "atlas/kernels/conv_shape.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// The definition: calls f(i, j, k) for every product y[i] += x[j] weight[k].
///
/// Output pixel (oh, ow) reads the input pixel that tap (kh, kw) lies on, (oh stride + kh dilation - padding, and the
/// same for w), unless that is outside of the image. Output channel o reads the input channels of its own group.
/// x [B,H,W,I], weight [O,KH,KW,I/groups], y [B,OH,OW,O].
template <class F>
void for_each_product(const Conv2dShape& s, const F& f) {
  const int64_t inputs = s.group_in(), outputs = std::max<int64_t>(1, s.group_out());
  int64_t i = 0;
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t oh = 0; oh < s.out[0]; ++oh)
      for (int64_t ow = 0; ow < s.out[1]; ++ow)
        for (int64_t o = 0; o < s.out_channels; ++o, ++i)
          for (int64_t kh = 0; kh < s.kernel[0]; ++kh)
            for (int64_t kw = 0; kw < s.kernel[1]; ++kw) {
              const int64_t ih = oh * s.stride[0] + kh * s.dilation[0] - s.padding[0];
              const int64_t iw = ow * s.stride[1] + kw * s.dilation[1] - s.padding[1];
              if (ih < 0 || ih >= s.in[0] || iw < 0 || iw >= s.in[1]) continue;
              const int64_t j = ((b * s.in[0] + ih) * s.in[1] + iw) * s.in_channels + o / outputs * inputs;
              const int64_t k = ((o * s.kernel[0] + kh) * s.kernel[1] + kw) * inputs;
              for (int64_t n = 0; n < inputs; ++n) f(i, j + n, k + n);
            }
}

/// y[i] = bias + the sum of its products.
/// @param bias  [O], or null for none
template <class T>
void conv2d(const T* x, const T* weight, const T* bias, T* y, const Conv2dShape& s) {
  std::vector<double> sum(s.out_pixels() * s.out_channels);
  for_each_product(s, [&](int64_t i, int64_t j, int64_t k) { sum[i] += static_cast<double>(x[j]) * weight[k]; });
  for (size_t i = 0; i < sum.size(); ++i)
    y[i] = static_cast<T>(sum[i] + (bias != nullptr ? static_cast<double>(bias[i % s.out_channels]) : 0));
}

/// dx[j] = sum of dy[i] weight[k] over the products that x[j] is in.
template <class T>
void conv2d_backward_input(const T* dy, const T* weight, T* dx, const Conv2dShape& s) {
  std::vector<double> sum(s.in_pixels() * s.in_channels);
  for_each_product(s, [&](int64_t i, int64_t j, int64_t k) { sum[j] += static_cast<double>(dy[i]) * weight[k]; });
  for (size_t j = 0; j < sum.size(); ++j) dx[j] = static_cast<T>(sum[j]);
}

/// dweight[k] = sum of dy[i] x[j] over the products that weight[k] is in.
template <class T>
void conv2d_backward_weight(const T* x, const T* dy, T* dweight, const Conv2dShape& s) {
  std::vector<double> sum(s.out_channels * s.depth());
  for_each_product(s, [&](int64_t i, int64_t j, int64_t k) { sum[k] += static_cast<double>(dy[i]) * x[j]; });
  for (size_t k = 0; k < sum.size(); ++k) dweight[k] = static_cast<T>(sum[k]);
}

/// dbias[o] = sum of dy over all pixels.
/// @param dy  [pixels, channels]
template <class T>
void bias_backward(int64_t pixels, int64_t channels, const T* dy, T* dbias) {
  for (int64_t o = 0; o < channels; ++o) {
    double sum = 0;
    for (int64_t i = 0; i < pixels; ++i) sum += dy[i * channels + o];
    dbias[o] = static_cast<T>(sum);
  }
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
