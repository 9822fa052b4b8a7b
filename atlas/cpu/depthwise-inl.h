// Depthwise convolution on the CPU: every channel has its own filter, so the loops run over whole pixels, vectorized
// over the channels. Serves conv2d with one group per channel and conv1d_depthwise (an image of height 1).
#pragma once

#include <algorithm>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/kernels/conv.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// Pixels of a tensor [B,H,W,C] with contiguous channels.
template <class T>
struct Pixels {
  const T* data;
  int64_t batch_step = 0, row_step = 0, column_step = 0;
  explicit Pixels(const Tensor& t) : data(t.data<T>()) {
    if (t.numel() > 0) batch_step = t.strides()[0], row_step = t.strides()[1], column_step = t.strides()[2];
  }
  const T* at(int64_t b, int64_t h, int64_t w) const { return data + b * batch_step + h * row_step + w * column_step; }
};

/// Calls f(b, h, w, p) for the pixels p in [begin, end) of a batch of h_count x w_count images.
template <class F>
void for_each_pixel(int64_t begin, int64_t end, const Conv2dShape::Pair& size, const F& f) {
  for (int64_t p = begin; p < end; ++p) f(p / (size[0] * size[1]), p / size[1] % size[0], p % size[1], p);
}

/// Calls f(tap, ih, iw) for the taps of output pixel (oh, ow) that lie inside the image.
template <class F>
void for_each_tap(const Conv2dShape& s, int64_t oh, int64_t ow, const F& f) {
  for (int64_t kh = 0; kh < s.kernel[0]; ++kh) {
    const int64_t ih = oh * s.stride[0] + kh * s.dilation[0] - s.padding[0];
    if (ih < 0 || ih >= s.in[0]) continue;
    for (int64_t kw = 0; kw < s.kernel[1]; ++kw) {
      const int64_t iw = ow * s.stride[1] + kw * s.dilation[1] - s.padding[1];
      if (iw >= 0 && iw < s.in[1]) f(kh * s.kernel[1] + kw, ih, iw);
    }
  }
}

/// y[c] += a[c] * b[c]
template <class T>
void multiply_add(const T* __restrict a, const T* __restrict b, T* __restrict y, int64_t n) {
  for (int64_t c = 0; c < n; ++c) y[c] += a[c] * b[c];
}

}  // namespace detail

ATLAS_INLINE void depthwise_forward(const Tensor& x, const Tensor& taps, const Tensor& bias, Tensor& y,
                                    const Conv2dShape& s) {
  if (y.numel() == 0) return;
  visit_float(x, "depthwise convolution", [&](auto tag) {
    using T = decltype(tag);
    const detail::Pixels<T> in(x);
    const T *w = taps.data<T>(), *b = bias.defined() ? bias.data<T>() : nullptr;
    T* out = y.data<T>();
    const int64_t channels = s.in_channels;
    parallel_for(s.out_pixels(), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, channels)),
                 [&](int64_t begin, int64_t end) {
                   detail::for_each_pixel(begin, end, s.out, [&](int64_t image, int64_t oh, int64_t ow, int64_t p) {
                     T* to = out + p * channels;
                     if (b != nullptr)
                       std::copy_n(b, channels, to);
                     else
                       std::fill_n(to, channels, T(0));
                     detail::for_each_tap(s, oh, ow, [&](int64_t tap, int64_t ih, int64_t iw) {
                       detail::multiply_add(in.at(image, ih, iw), w + tap * channels, to, channels);
                     });
                   });
                 });
  });
}

ATLAS_INLINE void depthwise_backward_input(const Tensor& dy, const Tensor& taps, Tensor& dx, const Conv2dShape& s) {
  if (dx.numel() == 0) return;
  visit_float(dy, "depthwise convolution", [&](auto tag) {
    using T = decltype(tag);
    const detail::Pixels<T> dout(dy);
    const T* w = taps.data<T>();
    T* din = dx.data<T>();
    const int64_t channels = s.in_channels;
    parallel_for(s.in_pixels(), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, channels)),
                 [&](int64_t begin, int64_t end) {
                   detail::for_each_pixel(begin, end, s.in, [&](int64_t image, int64_t ih, int64_t iw, int64_t p) {
                     T* to = din + p * channels;
                     std::fill_n(to, channels, T(0));
                     for (int64_t kh = 0; kh < s.kernel[0]; ++kh) {  // the outputs that read this pixel
                       const int64_t th = ih + s.padding[0] - kh * s.dilation[0];
                       if (th < 0 || th % s.stride[0] != 0 || th / s.stride[0] >= s.out[0]) continue;
                       for (int64_t kw = 0; kw < s.kernel[1]; ++kw) {
                         const int64_t tw = iw + s.padding[1] - kw * s.dilation[1];
                         if (tw < 0 || tw % s.stride[1] != 0 || tw / s.stride[1] >= s.out[1]) continue;
                         detail::multiply_add(dout.at(image, th / s.stride[0], tw / s.stride[1]),
                                              w + (kh * s.kernel[1] + kw) * channels, to, channels);
                       }
                     }
                   });
                 });
  });
}

ATLAS_INLINE void depthwise_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dtaps, const Conv2dShape& s) {
  visit_float(x, "depthwise convolution", [&](auto tag) {
    using T = decltype(tag);
    const detail::Pixels<T> in(x), dout(dy);
    T* dw = dtaps.data<T>();
    const int64_t channels = s.in_channels, size = s.kernel[0] * s.kernel[1] * channels, pixels = s.out_pixels();
    std::fill_n(dw, size, T(0));
    if (size == 0 || pixels == 0) return;
    // At most 32 blocks of pixels with sums of their own, added in order: fixed, whatever the number of threads.
    const int64_t block = std::max<int64_t>((pixels + 31) / 32, 16384 / channels + 1),
                  blocks = (pixels + block - 1) / block;
    T* partial = workspace<T>(blocks * size, 4);
    parallel_for(pixels, block, [&](int64_t begin, int64_t end) {
      T* sum = partial + begin / block * size;
      std::fill_n(sum, size, T(0));
      detail::for_each_pixel(begin, end, s.out, [&](int64_t image, int64_t oh, int64_t ow, int64_t) {
        const T* g = dout.at(image, oh, ow);
        detail::for_each_tap(s, oh, ow, [&](int64_t tap, int64_t ih, int64_t iw) {
          detail::multiply_add(in.at(image, ih, iw), g, sum + tap * channels, channels);
        });
      });
    });
    for (int64_t i = 0; i < blocks; ++i)
      for (int64_t j = 0; j < size; ++j) dw[j] += partial[i * size + j];
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
