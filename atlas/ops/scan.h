// The selective scan of state-space models as one op, and its composite of plain ops.
#pragma once

#include "atlas/kernels/scan.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

void check_scan(const ScanTensors& s);

}  // namespace detail

/// Selective scan (Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces", 2023, Algorithm 2,
/// with the simplified discretisation of their code): per channel, N states follow the input along L, d_t =
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

/// The same from plain ops, one step of time after the other.
Tensor selective_scan_reference(const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
                                const Tensor& D, const Tensor& delta_bias);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/scan-inl.h"
#endif
