// Normalization kernels: layer norm over the last axis, batch norm over all axes but the last (channels-last).
#pragma once

#include "atlas/kernels/gemm_epilogue.h"
#include "atlas/kernels/kernel.h"
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
                         const Tensor& dy, Tensor& dx, Tensor& dweight, Tensor& dbias, bool add);
void batch_norm_statistics(const Tensor& x, Tensor& mean, Tensor& var);
void batch_norm_forward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                        const Tensor& bias, Activation activation, Tensor& y);
void batch_norm_backward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                         const Tensor& bias, Activation activation, const Tensor& dy, bool batch_statistics, Tensor& dx,
                         Tensor& dweight, Tensor& dbias);
}  // namespace cuda
namespace cpu::plain {  // the same as plain loops, in atlas/reference/
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
}  // namespace cpu::plain

namespace kernels {

/// y = (x - mean) rstd weight + bias per row, with rstd = 1 / sqrt(var + eps) and the biased variance.
inline constexpr Kernel<cpu::layer_norm_forward, cuda::layer_norm_forward, cpu::plain::layer_norm_forward>
    layer_norm_forward{"layer_norm", "layer_norm"};

/// `add`: dx is added to, not overwritten; not on CUDA devices.
inline constexpr Kernel<cpu::layer_norm_backward, cuda::layer_norm_backward, cpu::plain::layer_norm_backward>
    layer_norm_backward{"layer_norm", "layer_norm backward"};

/// Mean and biased variance of each channel; needs at least one row.
inline constexpr Kernel<cpu::batch_norm_statistics, cuda::batch_norm_statistics, cpu::plain::batch_norm_statistics>
    batch_norm_statistics{"batch_norm", "batch_norm statistics"};

/// y = activation((x - mean) rstd weight + bias) per channel.
inline constexpr Kernel<cpu::batch_norm_forward, cuda::batch_norm_forward, cpu::plain::batch_norm_forward>
    batch_norm_forward{"batch_norm", "batch_norm"};

/// `batch_statistics`: mean and rstd depend on x; otherwise they are constants.
inline constexpr Kernel<cpu::batch_norm_backward, cuda::batch_norm_backward, cpu::plain::batch_norm_backward>
    batch_norm_backward{"batch_norm", "batch_norm backward"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/norm-inl.h"
#include "atlas/reference/norm-inl.h"
#endif
