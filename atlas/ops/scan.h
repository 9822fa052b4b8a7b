// The selective scan of state-space models as one op, and its composite of plain ops.
#pragma once

#include "atlas/kernels/scan.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

void check_scan(const ScanTensors& s);

}  // namespace detail

/// Selective scan (Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces", 2023, Algorithm 2,
/// with the simplified discretization of their code): per channel, N states follow the input along L, d_t =
/// softplus(delta_t + delta_bias),  h_t = exp(d_t A) h_{t-1} + d_t u_t B_t,  y_t = C_t . h_t + D u_t,  h_0 = 0.
///
/// Backward recomputes the states. Strided views of u, delta, B and C with a contiguous last axis are read in place.
/// @param u           float32 or float64, [B,L,D]
/// @param delta       [B,L,D], step sizes before the softplus
/// @param A           [D,N], negative in practice
/// @param B           [B,L,N]
/// @param C           [B,L,N]
/// @param D           [D]
/// @param delta_bias  [D]
/// @return [B,L,D], contiguous
/// @throws Error when shapes, dtypes or devices do not fit.
Tensor selective_scan(const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
                      const Tensor& D, const Tensor& delta_bias);

/// selective_scan() on the CPU where nothing is recorded, with the result in the place of u, whose last axis is
/// contiguous.
/// @throws Error like selective_scan(), and when it would have to be recorded.
void selective_scan_(Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C, const Tensor& D,
                     const Tensor& delta_bias);

/// The first `channels` of x [B,L,C], for a layer that reads them more than once: the CPU's kernels read them where
/// they lie, CUDA devices get a copy.
/// @return [B,L,channels]
Tensor leading_channels(const Tensor& x, int64_t channels);

/// [selective_scan(u, ...), z] for xz = [u z] that the caller has no more use for: on the CPU in inference, the result
/// takes the place of u.
/// @param xz  [B,L,2D]
/// @param u   leading_channels(xz, D)
/// @return [B,L,2D]
/// @throws Error like selective_scan().
Tensor selective_scan_beside(Tensor xz, const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B,
                             const Tensor& C, const Tensor& D, const Tensor& delta_bias);

/// selective_scan() from plain ops, one step of time after the other.
Tensor selective_scan_reference(const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
                                const Tensor& D, const Tensor& delta_bias);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/scan-inl.h"
#endif
