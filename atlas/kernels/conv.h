// Convolution kernels on channels-last images: general conv2d, depthwise conv2d, and depthwise conv1d.
#pragma once

#include <atomic>

#include "atlas/core/profile.h"
#include "atlas/kernels/conv_shape.h"
#include "atlas/kernels/gemm.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
inline std::atomic<bool>& exact_convolution_flag() {
  static std::atomic<bool> exact{false};
  return exact;
}
}  // namespace detail

/// Whether 3x3 convolutions on the CPU are always plain sums. Default: no; Winograd's F(4x4) or F(6x6, 3x3) is used
/// where it is estimated to be faster, with relative errors of 3e-6 to 9e-6 instead of 2e-7. ATLAS_CPU_CONV=direct also
/// turns it off.
inline bool exact_convolution() { return detail::exact_convolution_flag(); }
inline void set_exact_convolution(bool exact) { detail::exact_convolution_flag() = exact; }

namespace cpu {

/// y[B,OH,OW,O] from x[B,H,W,I], weight[O,KH,KW,I/groups], bias[O] or undefined. All contiguous, as below.
ATLAS_INLINE void conv2d_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y,
                                 const Conv2dShape& s, const Fused& fused);
/// The filters as conv2d_forward() reads them for this shape and instruction set (transformed, or packed); undefined
/// where it reads them as they are.
ATLAS_INLINE Tensor packed_filters(const Tensor& weight, const Conv2dShape& s);
/// dx is overwritten.
ATLAS_INLINE void conv2d_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s);
/// dweight is overwritten.
ATLAS_INLINE void conv2d_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s);

/// The same for one filter per channel. Filters lie tap by tap, taps[KH*KW, C]; x and dy are [B,H,W,C] whose channels
/// are contiguous, their other axes may be strided; y, dx and dtaps are contiguous.
ATLAS_INLINE void depthwise_forward(const Tensor& x, const Tensor& taps, const Tensor& bias, Tensor& y,
                                    const Conv2dShape& s);
ATLAS_INLINE void depthwise_backward_input(const Tensor& dy, const Tensor& taps, Tensor& dx, const Conv2dShape& s);
ATLAS_INLINE void depthwise_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dtaps, const Conv2dShape& s);

}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void conv2d_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y, const Conv2dShape& s,
                    const Fused& fused);
void conv2d_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s);
void conv2d_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s);
void depthwise_forward(const Tensor& x, const Tensor& taps, const Tensor& bias, Tensor& y, const Conv2dShape& s);
void depthwise_backward_input(const Tensor& dy, const Tensor& taps, Tensor& dx, const Conv2dShape& s);
void depthwise_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dtaps, const Conv2dShape& s);
}  // namespace cuda

namespace kernels {

inline void conv2d_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y, const Conv2dShape& s,
                           const Fused& fused = {}) {
  const ProfileScope profile("conv2d", s.flops(), x, weight, y);
  if constexpr (kWithCuda)
    if (on_cuda("conv2d", x, weight, y)) return cuda::conv2d_forward(x, weight, bias, y, s, fused);
  cpu::conv2d_forward(x, weight, bias, y, s, fused);
}
/// Filters prepared for such images; undefined when that would not show, as for packed_weight().
inline Tensor packed_filters(const Tensor& weight, const Conv2dShape& s) {
  return weight.device().is_cuda() || !worth_packing(s.out_pixels()) ? Tensor() : cpu::packed_filters(weight, s);
}
inline void conv2d_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s) {
  const ProfileScope profile("conv2d dx", s.flops(), dy, weight, dx);
  if constexpr (kWithCuda)
    if (on_cuda("conv2d", dy, weight, dx)) return cuda::conv2d_backward_input(dy, weight, dx, s);
  cpu::conv2d_backward_input(dy, weight, dx, s);
}
inline void conv2d_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s) {
  const ProfileScope profile("conv2d dW", s.flops(), x, dy, dweight);
  if constexpr (kWithCuda)
    if (on_cuda("conv2d", x, dy, dweight)) return cuda::conv2d_backward_weight(x, dy, dweight, s);
  cpu::conv2d_backward_weight(x, dy, dweight, s);
}
inline void depthwise_forward(const Tensor& x, const Tensor& taps, const Tensor& bias, Tensor& y,
                              const Conv2dShape& s) {
  const ProfileScope profile("depthwise convolution", s.flops(), x, taps, bias, y);
  if constexpr (kWithCuda)
    if (on_cuda("depthwise convolution", x, taps, bias, y)) return cuda::depthwise_forward(x, taps, bias, y, s);
  cpu::depthwise_forward(x, taps, bias, y, s);
}
inline void depthwise_backward_input(const Tensor& dy, const Tensor& taps, Tensor& dx, const Conv2dShape& s) {
  const ProfileScope profile("depthwise convolution backward", s.flops(), dy, taps, dx);
  if constexpr (kWithCuda)
    if (on_cuda("depthwise convolution", dy, taps, dx)) return cuda::depthwise_backward_input(dy, taps, dx, s);
  cpu::depthwise_backward_input(dy, taps, dx, s);
}
inline void depthwise_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dtaps, const Conv2dShape& s) {
  const ProfileScope profile("depthwise convolution backward", s.flops(), x, dy, dtaps);
  if constexpr (kWithCuda)
    if (on_cuda("depthwise convolution", x, dy, dtaps)) return cuda::depthwise_backward_weight(x, dy, dtaps, s);
  cpu::depthwise_backward_weight(x, dy, dtaps, s);
}

}  // namespace kernels

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/conv-inl.h"
#include "atlas/cpu/depthwise-inl.h"
#endif
