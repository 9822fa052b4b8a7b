// Matrix products of this room, as the dispatch of gemm.cu, cuBLASLt and pointwise convolutions see them.
#pragma once

#include "atlas/cuda/launch.cuh"
#include "atlas/kernels/gemm.h"

namespace atlas::inline ATLAS_ABI::cuda {

/// C_i = activation(op(A_i) op(B_i) + bias) + residual, row-major, C contiguous. The batch's operands lie at a step
/// along each axis; axes of length 1 are left out.
struct Gemm {
  Device device;
  DType dtype;
  DType result;  ///< of C: dtype, or float32 of bfloat16 operands (then nothing is fused)
  const char* op;
  bool trans_a = false, trans_b = false;
  int64_t m = 0, n = 0, k = 0, lda = 0, ldb = 0;
  const void *a = nullptr, *b = nullptr;
  void* c = nullptr;
  int axes = 0;
  int64_t size[kMaxDims] = {}, step_a[kMaxDims] = {}, step_b[kMaxDims] = {};
  const void* bias = nullptr;
  const void* residual = nullptr;
  Activation activation = Activation::none;

  int64_t batch() const {
    int64_t all = 1;
    for (int i = 0; i < axes; ++i) all *= size[i];
    return all;
  }
};

/// By tensor cores or cuBLASLt where one takes the product, else by the plain kernel.
void gemm(const Gemm& g);
/// By ordinary arithmetic.
void gemm_plain(const Gemm& g);
/// Large products of float32 as three of TF32; false where that is not allowed or not faster.
bool gemm_tf32(const Gemm& g);
/// By cuBLASLt; false when it refuses the sizes or their alignment (nothing has been done then). What it cannot fuse
/// remains in `left`: the activation, the residual.
bool gemm_lt(const Gemm& g, Gemm& left);

}  // namespace atlas::inline ATLAS_ABI::cuda
