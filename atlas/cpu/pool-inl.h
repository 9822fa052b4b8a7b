// CPU kernels of max pooling; every innermost loop runs over the channels of a pixel.
#pragma once

#include <algorithm>
#include <limits>

#include "atlas/core/parallel.h"
#include "atlas/kernels/pool.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// A later pixel replaces an earlier one when it is larger or NaN, so the first maximum wins and NaN spreads.
template <class T, class I>
void update(const T* __restrict x, int64_t channels, I position, T* __restrict best, I* __restrict index) {
  for (int64_t c = 0; c < channels; ++c) {
    const bool better = (x[c] > best[c]) | (x[c] != x[c]);
    best[c] = better ? x[c] : best[c];
    index[c] = better ? position : index[c];
  }
}
template <class T>
void update(const T* __restrict x, int64_t channels, T* __restrict best) {
  for (int64_t c = 0; c < channels; ++c) best[c] = ((x[c] > best[c]) | (x[c] != x[c])) ? x[c] : best[c];
}

/// Calls f(T, I): element type and index type (uint8 when there is no index).
template <class F>
void visit(DType dtype, DType index, const F& f) {
  visit_float(dtype, "max_pool2d", [&](auto t) {
    if (index == uint8)
      f(t, uint8_t{});
    else
      f(t, int64_t{});
  });
}

}  // namespace detail

ATLAS_INLINE void max_pool2d_forward(const Tensor& x, const PoolWindow& window, Tensor& y, Tensor& index) {
  if (y.numel() == 0) return;
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const int64_t out_height = y.shape()[1], out_width = y.shape()[2];
  const int64_t kh = window.kernel[0], kw = window.kernel[1], sh = window.stride[0], sw = window.stride[1];
  const int64_t ph = window.padding[0], pw = window.padding[1];
  detail::visit(x.dtype(), window.index_dtype(), [&](auto tag, auto index_tag) {
    using T = decltype(tag);
    using I = decltype(index_tag);
    const T* xp = x.data<T>();
    T* yp = y.data<T>();
    I* ip = index.defined() ? index.data<I>() : nullptr;
    const int64_t work = out_width * channels * kh * kw;
    parallel_for(x.shape()[0] * out_height, std::max<int64_t>(1, 32768 / work), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t b = r / out_height, top = r % out_height * sh - ph;
        const int64_t k0 = std::max<int64_t>(0, -top), k1 = std::min(kh, height - top);
        for (int64_t j = 0; j < out_width; ++j) {
          const int64_t left = j * sw - pw, l0 = std::max<int64_t>(0, -left), l1 = std::min(kw, width - left);
          const int64_t out = (r * out_width + j) * channels;
          // The first pixel of the window starts the scan: minus infinity everywhere gives its position.
          const T* first = xp + ((b * height + top + k0) * width + left + l0) * channels;
          std::copy(first, first + channels, yp + out);
          if (ip != nullptr) std::fill(ip + out, ip + out + channels, static_cast<I>(k0 * kw + l0));
          for (int64_t k = k0; k < k1; ++k) {
            for (int64_t l = k == k0 ? l0 + 1 : l0; l < l1; ++l) {
              const T* pixel = xp + ((b * height + top + k) * width + left + l) * channels;
              if (ip != nullptr)
                detail::update(pixel, channels, static_cast<I>(k * kw + l), yp + out, ip + out);
              else
                detail::update(pixel, channels, yp + out);
            }
          }
        }
      }
    });
  });
}

// Each row of dx gathers from the rows of dy whose windows cover it, so that rows are independent:
//   dx[h, w] = sum over windows (i, j) that cover (h, w) of dy[i, j] where index[i, j] is the position of (h, w) in (i,
//   j).
ATLAS_INLINE void max_pool2d_backward(const Tensor& index, const Tensor& dy, const PoolWindow& window, Tensor& dx) {
  if (dx.numel() == 0) return;
  const int64_t height = dx.shape()[1], width = dx.shape()[2], channels = dx.shape()[3];
  const int64_t out_height = dy.shape()[1], out_width = dy.shape()[2];
  const int64_t kh = window.kernel[0], kw = window.kernel[1], sh = window.stride[0], sw = window.stride[1];
  const int64_t ph = window.padding[0], pw = window.padding[1];
  detail::visit(dx.dtype(), window.index_dtype(), [&](auto tag, auto index_tag) {
    using T = decltype(tag);
    using I = decltype(index_tag);
    const I* ip = index.data<I>();
    const T* dyp = dy.data<T>();
    T* dxp = dx.data<T>();
    parallel_for(dx.shape()[0] * height, std::max<int64_t>(1, 16384 / (width * channels)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; ++r) {
                     const int64_t b = r / height, h = r % height + ph;
                     T* row = dxp + r * width * channels;
                     std::fill(row, row + width * channels, T(0));
                     for (int64_t i = std::max<int64_t>(0, (h - kh + sh) / sh); i <= h / sh && i < out_height; ++i) {
                       for (int64_t j = 0; j < out_width; ++j) {
                         const int64_t left = j * sw - pw, l1 = std::min(kw, width - left);
                         const int64_t out = ((b * out_height + i) * out_width + j) * channels;
                         for (int64_t l = std::max<int64_t>(0, -left); l < l1; ++l) {
                           const I position = static_cast<I>((h - i * sh) * kw + l);
                           const I* __restrict at = ip + out;
                           const T* __restrict g = dyp + out;
                           T* __restrict d = row + (left + l) * channels;
                           for (int64_t c = 0; c < channels; ++c) d[c] += at[c] == position ? g[c] : T(0);
                         }
                       }
                     }
                   }
                 });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
