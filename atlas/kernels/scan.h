// Kernels of the selective scan (the state-space recurrence of Mamba).
#pragma once

#include "atlas/core/profile.h"
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

namespace kernels {

inline void scan_forward(const ScanTensors& in, Tensor& y) {
  const ProfileScope profile("selective_scan", 9.0 * static_cast<double>(in.u.numel() * in.a.size(1)), in.u, in.delta,
                             y);
  if constexpr (kWithCuda)
    if (on_cuda("selective_scan", in.u, in.delta, in.a, in.b, in.c, in.d, in.delta_bias, y))
      return cuda::scan_forward(in, y);
  cpu::scan_forward(in, y);
}
inline void scan_backward(const ScanTensors& in, const Tensor& dy, ScanTensors& grads) {
  const ProfileScope profile("selective_scan backward", 25.0 * static_cast<double>(in.u.numel() * in.a.size(1)), in.u,
                             in.delta, dy);
  if constexpr (kWithCuda)
    if (on_cuda("selective_scan", in.u, in.delta, in.a, in.b, in.c, in.d, in.delta_bias, dy))
      return cuda::scan_backward(in, dy, grads);
  cpu::scan_backward(in, dy, grads);
}

}  // namespace kernels

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/scan-inl.h"
#endif
