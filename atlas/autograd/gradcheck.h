// gradcheck(): holds an op's backward against finite differences, in float64.
#pragma once

#include <functional>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

/// What gradcheck() tolerates and how much it looks at.
struct GradcheckOptions {
  double eps = 1e-6;           ///< step of the central differences
  double atol = 1e-6;          ///< allowed: |analytic - numeric| <= atol + rtol |numeric|
  double rtol = 1e-4;          ///< see atol
  int64_t max_elements = 256;  ///< elements checked per input; of a larger input, that many spread over it
  uint64_t seed = 1;           ///< of the random cotangent
};

/// What gradcheck() saw.
struct GradcheckResult {
  int64_t checked = 0;        ///< elements compared with finite differences
  double max_difference = 0;  ///< largest |analytic - numeric| among them
};

/// Compares the gradients of fn, as backward computes them, with central differences:
/// with s(x) = sum(c * fn(x)) for a random c,  ds/dx_i must equal (s(x + eps e_i) - s(x - eps e_i)) / (2 eps).
///
/// It also checks that the gradient does not depend on the memory layout of dy (contiguous, scattered, expanded), so
/// that an op that forgets about strides is found out. The inputs are copied with their strides; they stay unchanged.
/// Random ops inside fn draw the same numbers in every evaluation.
/// @param fn      Tensor(const std::vector<Tensor>&), a deterministic function with a float64 result
/// @param inputs  float64 tensors are checked; integer and boolean ones are passed on as they are
/// @throws Error naming the input, the element, the analytic and the numeric value when they differ.
/// @throws Error when fn's result depends on no input, an input is float32, or two evaluations of fn differ.
GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& fn,
                          const std::vector<Tensor>& inputs, const GradcheckOptions& options = {});

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/autograd/gradcheck-inl.h"
#endif
