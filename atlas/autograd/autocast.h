// Autocast: on CUDA devices the heavy ops compute in bfloat16, while weights, their gradients and the optimizer stay
// float32.
#pragma once

#include "atlas/autograd/node.h"
#include "atlas/core/precision.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// True when an op on x is to run in bfloat16: under a guard, or where nothing is recorded and inference_precision() is
/// bfloat16.
bool autocasts(const Tensor& x);
/// A weight as such an op reads it, outside the graph: its gradient is made in the weight's own type.
Tensor narrow_weight(const Tensor& t);

}  // namespace detail

/// While it lives, ops of this thread on CUDA tensors compute as mixed precision does: matmul, linear, convolutions,
/// attention and the selective scan take their float32 operands in bfloat16 (products are summed in float32),
/// everything else works in the type it is given. Norms, softmax, losses and the states of scans are float32 inside.
/// Parameters stay float32, and so are their gradients. Ops on the CPU are not affected.
///
/// Backward needs no guard: it computes in the types of the forward pass.
///
/// Example: `Tensor loss; { const Autocast mixed; loss = cross_entropy(model(x), labels); } loss.backward();`
class Autocast {
 public:
  /// @param dtype  bfloat16, or float32 to switch an outer guard off
  explicit Autocast(DType dtype = bfloat16);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  DType before_ = float32;
};

/// What the ops of this thread on CUDA devices compute in: bfloat16 under an Autocast guard, else float32.
DType autocast_dtype();

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/autograd/autocast-inl.h"
#endif
