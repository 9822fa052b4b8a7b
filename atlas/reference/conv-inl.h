// The plain kernels of convolutions.
#pragma once

#include "atlas/kernels/conv.h"
#include "atlas/reference/convolution.h"
#include "atlas/reference/elements.h"
#include "atlas/reference/epilogue.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

ATLAS_INLINE void conv2d_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y,
                                 const Conv2dShape& s, const Fused& fused) {
  if (y.numel() == 0) return;
  visit_float(x, "conv2d", [&](auto tag) {
    using T = decltype(tag);
    reference::conv2d<T>(pointer<T>(x), pointer<T>(weight), nullptr, y.data<T>(), s);
    finish<T>(fused, bias, y);
  });
}
ATLAS_INLINE void conv2d_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s) {
  visit_float(dy, "conv2d", [&](auto tag) {
    using T = decltype(tag);
    reference::conv2d_backward_input<T>(pointer<T>(dy), pointer<T>(weight), pointer<T>(dx), s);
  });
}
ATLAS_INLINE void conv2d_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s) {
  visit_float(x, "conv2d", [&](auto tag) {
    using T = decltype(tag);
    reference::conv2d_backward_weight<T>(pointer<T>(x), pointer<T>(dy), pointer<T>(dweight), s);
  });
}

/// A matrix [rows, columns] with its axes exchanged: filters tap by tap, taps[KH*KW, C], are weight[C,KH,KW,1] then.
template <class T>
std::vector<T> exchanged(const std::vector<T>& from, int64_t rows, int64_t columns) {
  std::vector<T> to(from.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
  return to;
}

ATLAS_INLINE void depthwise_forward(const Tensor& x, const Tensor& taps, const Tensor& bias, Tensor& y,
                                    const Conv2dShape& s) {
  visit_float(x, "depthwise convolution", [&](auto tag) {
    using T = decltype(tag);
    const std::vector<T> in = elements<T>(x);
    const std::vector<T> weight = exchanged(elements<T>(taps), s.kernel[0] * s.kernel[1], s.in_channels);
    reference::conv2d<T>(in.data(), weight.data(), pointer<T>(bias), pointer<T>(y), s);
  });
}
ATLAS_INLINE void depthwise_backward_input(const Tensor& dy, const Tensor& taps, Tensor& dx, const Conv2dShape& s) {
  visit_float(dy, "depthwise convolution", [&](auto tag) {
    using T = decltype(tag);
    const std::vector<T> dout = elements<T>(dy);
    const std::vector<T> weight = exchanged(elements<T>(taps), s.kernel[0] * s.kernel[1], s.in_channels);
    reference::conv2d_backward_input<T>(dout.data(), weight.data(), pointer<T>(dx), s);
  });
}
ATLAS_INLINE void depthwise_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dtaps, const Conv2dShape& s) {
  visit_float(x, "depthwise convolution", [&](auto tag) {
    using T = decltype(tag);
    const std::vector<T> in = elements<T>(x), dout = elements<T>(dy);
    std::vector<T> dweight(static_cast<size_t>(dtaps.numel()));
    reference::conv2d_backward_weight<T>(in.data(), dout.data(), dweight.data(), s);
    store<T>(exchanged(dweight, s.in_channels, s.kernel[0] * s.kernel[1]), dtaps);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
