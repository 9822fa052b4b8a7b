// Normalisation kernels: layer norm over the last axis, batch norm over all axes but the last (channels-last).
#pragma once

#include "atlas/core/profile.h"
#include "atlas/kernels/gemm_epilogue.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

// Shapes: x, dy, y, dx [rows, C]; weight, bias, dweight, dbias [C]; one float dtype, all contiguous, outputs
// overwritten. Layer norm: mean, rstd [rows]. Batch norm: var, rstd [C]; mean [C], or [2, C] with what the type of the
// first row lost of the means in the second.
namespace cpu {
void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y, Tensor& mean,
                        Tensor& rstd);
void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dweight, Tensor& dbias, bool add);
void batch_norm_statistics(const Tensor& x, Tensor& mean, Tensor& var);
void batch_norm_forward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                        const Tensor& bias, Activation activation, Tensor& y);
void batch_norm_backward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                         const Tensor& bias, Activation activation, const Tensor& dy, bool batch_statistics, Tensor& dx,
                         Tensor& dweight, Tensor& dbias);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y, Tensor& mean,
                        Tensor& rstd);
void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dweight, Tensor& dbias);
void batch_norm_statistics(const Tensor& x, Tensor& mean, Tensor& var);
void batch_norm_forward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                        const Tensor& bias, Activation activation, Tensor& y);
void batch_norm_backward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                         const Tensor& bias, Activation activation, const Tensor& dy, bool batch_statistics, Tensor& dx,
                         Tensor& dweight, Tensor& dbias);
}  // namespace cuda

namespace kernels {

/// y = (x - mean) rstd weight + bias per row, with rstd = 1 / sqrt(var + eps) and the biased variance.
inline void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y,
                               Tensor& mean, Tensor& rstd) {
  const ProfileScope profile("layer_norm", 0, x, weight, bias, y, mean, rstd);
  if constexpr (kWithCuda)
    if (on_cuda("layer_norm", x, weight, bias, y, mean, rstd))
      return cuda::layer_norm_forward(x, weight, bias, eps, y, mean, rstd);
  cpu::layer_norm_forward(x, weight, bias, eps, y, mean, rstd);
}

/// `add`: dx is added to, not overwritten; on the CPU only.
inline void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                                const Tensor& dy, Tensor& dx, Tensor& dweight, Tensor& dbias, bool add = false) {
  const ProfileScope profile("layer_norm backward", 0, x, weight, mean, rstd, dy, dx, dweight, dbias);
  check(!add || !dx.device().is_cuda(), "layer_norm", "adds to a gradient on the CPU only");
  if constexpr (kWithCuda)
    if (on_cuda("layer_norm", x, weight, mean, rstd, dy, dx, dweight, dbias))
      return cuda::layer_norm_backward(x, weight, mean, rstd, dy, dx, dweight, dbias);
  cpu::layer_norm_backward(x, weight, mean, rstd, dy, dx, dweight, dbias, add);
}

/// Mean and biased variance of each channel; needs at least one row.
inline void batch_norm_statistics(const Tensor& x, Tensor& mean, Tensor& var) {
  const ProfileScope profile("batch_norm statistics", 0, x, mean, var);
  if constexpr (kWithCuda)
    if (on_cuda("batch_norm", x, mean, var)) return cuda::batch_norm_statistics(x, mean, var);
  cpu::batch_norm_statistics(x, mean, var);
}

/// y = activation((x - mean) rstd weight + bias) per channel.
inline void batch_norm_forward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                               const Tensor& bias, Activation activation, Tensor& y) {
  const ProfileScope profile("batch_norm", 0, x, mean, rstd, weight, bias, y);
  if constexpr (kWithCuda)
    if (on_cuda("batch_norm", x, mean, rstd, weight, bias, y))
      return cuda::batch_norm_forward(x, mean, rstd, weight, bias, activation, y);
  cpu::batch_norm_forward(x, mean, rstd, weight, bias, activation, y);
}

/// `batch_statistics`: mean and rstd depend on x; otherwise they are constants.
inline void batch_norm_backward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                                const Tensor& bias, Activation activation, const Tensor& dy, bool batch_statistics,
                                Tensor& dx, Tensor& dweight, Tensor& dbias) {
  const ProfileScope profile("batch_norm backward", 0, x, mean, rstd, weight, dy, dx, dweight, dbias);
  if constexpr (kWithCuda)
    if (on_cuda("batch_norm", x, mean, rstd, weight, bias, dy, dx, dweight, dbias))
      return cuda::batch_norm_backward(x, mean, rstd, weight, bias, activation, dy, batch_statistics, dx, dweight,
                                       dbias);
  cpu::batch_norm_backward(x, mean, rstd, weight, bias, activation, dy, batch_statistics, dx, dweight, dbias);
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/norm-inl.h"
#endif
