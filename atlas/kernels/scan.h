// Kernels of the selective scan (the state-space recurrence of Mamba).
#pragma once

#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// The operands of a selective scan. u, delta [B,L,D]; a [D,N]; b, c [B,L,N]; d, delta_bias [D].
/// As inputs of a kernel, u, delta, b and c may be strided as long as their last axis is contiguous; the rest is
/// contiguous.
struct ScanTensors {
  Tensor u, delta, a, b, c, d, delta_bias;
};

namespace cpu {

/// y[B,L,D] is overwritten; it may be strided like u, or be u.
ATLAS_INLINE void scan_forward(const ScanTensors& in, Tensor& y);
/// All gradients (contiguous, in the shapes of `in`) are overwritten; dy may be strided like u.
ATLAS_INLINE void scan_backward(const ScanTensors& in, const Tensor& dy, ScanTensors& grads);

}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void scan_forward(const ScanTensors& in, Tensor& y);
void scan_backward(const ScanTensors& in, const Tensor& dy, ScanTensors& grads);
}  // namespace cuda

namespace cpu::plain {  // the same as plain loops, in atlas/reference/
ATLAS_INLINE void scan_forward(const ScanTensors& in, Tensor& y);
ATLAS_INLINE void scan_backward(const ScanTensors& in, const Tensor& dy, ScanTensors& grads);
}  // namespace cpu::plain

template <class F>
void for_each_operand(const ScanTensors& s, const F& f) {
  for (const Tensor* t : {&s.u, &s.delta, &s.a, &s.b, &s.c, &s.d, &s.delta_bias}) f(*t);
}

namespace kernels {

/// `per_state` operations for each token, channel and state.
template <int per_state, class... Others>
double scan_flops(const ScanTensors& in, Others...) {
  return per_state * static_cast<double>(in.u.numel() * in.a.size(1));
}

inline constexpr Kernel<cpu::scan_forward, cuda::scan_forward, cpu::plain::scan_forward> scan_forward{
    "selective_scan", "selective_scan", scan_flops<9>};
inline constexpr Kernel<cpu::scan_backward, cuda::scan_backward, cpu::plain::scan_backward> scan_backward{
    "selective_scan", "selective_scan backward", scan_flops<25>};

}  // namespace kernels

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/scan-inl.h"
#include "atlas/reference/scan-inl.h"
#endif
