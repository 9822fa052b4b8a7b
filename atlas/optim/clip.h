// The norm of all gradients together, and clipping by it.
#pragma once

#include <cmath>
#include <vector>

#include "atlas/kernels/optim.h"
#include "atlas/optim/optimizer.h"

namespace atlas::inline ATLAS_ABI {

/// The 2-norm of all gradients as one vector, summed in float64. Parameters without gradient count as zero.
inline double grad_norm(const std::vector<Tensor>& parameters) {
  double total = 0;
  for (const Tensor& p : parameters) {
    const Tensor g = p.grad();
    if (g) total += kernels::sum_of_squares(g.is_contiguous() ? g : copy_of(g));
  }
  return std::sqrt(total);
}

/// Scales all gradients by min(1, max_norm / (norm + 1e-6)), in place (Pascanu et al., ICML 2013).
/// @param max_norm  > 0
/// @return the norm before clipping; when it is NaN or infinite, so are the gradients
inline double clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm) {
  check(max_norm > 0, "clip_grad_norm", "max_norm must be above 0, got {}", max_norm);
  const double norm = grad_norm(parameters), factor = max_norm / (norm + 1e-6);
  NoGrad off;
  if (!(factor >= 1)) {
    for (const Tensor& p : parameters)
      if (Tensor g = p.grad(); g) g.mul_(factor);
  }
  return norm;
}
/// The same over all parameters of an optimiser.
inline double clip_grad_norm(const Optimizer& optimizer, double max_norm) {
  return clip_grad_norm(optimizer.parameters(), max_norm);
}

}  // namespace atlas::inline ATLAS_ABI
