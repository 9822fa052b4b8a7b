// Convolution kernels on channels-last images: general conv2d, depthwise conv2d, and depthwise conv1d.
#pragma once

#include <tuple>

#include "atlas/kernels/conv_shape.h"
#include "atlas/kernels/exact_convolution.h"
#include "atlas/kernels/gemm.h"
#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

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

namespace cpu::plain {  // the same as plain loops, in atlas/reference/
ATLAS_INLINE void conv2d_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y,
                                 const Conv2dShape& s, const Fused& fused);
ATLAS_INLINE void conv2d_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s);
ATLAS_INLINE void conv2d_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s);
ATLAS_INLINE void depthwise_forward(const Tensor& x, const Tensor& taps, const Tensor& bias, Tensor& y,
                                    const Conv2dShape& s);
ATLAS_INLINE void depthwise_backward_input(const Tensor& dy, const Tensor& taps, Tensor& dx, const Conv2dShape& s);
ATLAS_INLINE void depthwise_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dtaps, const Conv2dShape& s);
}  // namespace cpu::plain

namespace kernels {

/// The operations of the plain sum, from the shape among the arguments.
template <class... Args>
double conv_flops(Args... args) {
  return std::get<const Conv2dShape&>(std::forward_as_tuple(args...)).flops();
}

inline constexpr Kernel<cpu::conv2d_forward, cuda::conv2d_forward, cpu::plain::conv2d_forward> conv2d_forward{
    "conv2d", "conv2d", conv_flops};
/// Filters prepared for such images; undefined when that would not show, as for packed_weight().
inline Tensor packed_filters(const Tensor& weight, const Conv2dShape& s) {
  return weight.device().is_cuda() || plain_kernels() || !worth_packing(s.out_pixels())
             ? Tensor()
             : cpu::packed_filters(weight, s);
}
inline constexpr Kernel<cpu::conv2d_backward_input, cuda::conv2d_backward_input, cpu::plain::conv2d_backward_input>
    conv2d_backward_input{"conv2d", "conv2d dx", conv_flops};
inline constexpr Kernel<cpu::conv2d_backward_weight, cuda::conv2d_backward_weight, cpu::plain::conv2d_backward_weight>
    conv2d_backward_weight{"conv2d", "conv2d dW", conv_flops};
inline constexpr Kernel<cpu::depthwise_forward, cuda::depthwise_forward, cpu::plain::depthwise_forward>
    depthwise_forward{"depthwise convolution", "depthwise convolution", conv_flops};
inline constexpr Kernel<cpu::depthwise_backward_input, cuda::depthwise_backward_input,
                        cpu::plain::depthwise_backward_input>
    depthwise_backward_input{"depthwise convolution", "depthwise convolution backward", conv_flops};
inline constexpr Kernel<cpu::depthwise_backward_weight, cuda::depthwise_backward_weight,
                        cpu::plain::depthwise_backward_weight>
    depthwise_backward_weight{"depthwise convolution", "depthwise convolution backward", conv_flops};

}  // namespace kernels

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/conv-inl.h"
#include "atlas/cpu/depthwise-inl.h"
#include "atlas/reference/conv-inl.h"
#endif
