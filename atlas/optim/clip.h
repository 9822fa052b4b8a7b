// The norm of all gradients together, and clipping by it.
#pragma once

#include <vector>

#include "atlas/optim/optimizer.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
/// The gradients that there are.
std::vector<Tensor> gradients(const std::vector<Tensor>& parameters);
double norm_of(std::vector<Tensor> tensors);
void scale(const std::vector<Tensor>& tensors, double factor);
}  // namespace detail

/// The 2-norm of all gradients as one vector, summed in float64. Parameters without gradient count as zero.
double grad_norm(const std::vector<Tensor>& parameters);

/// Scales all gradients by min(1, max_norm / (norm + 1e-6)), in place (Pascanu et al., ICML 2013).
/// @param max_norm  > 0
/// @return the norm before clipping; when it is NaN or infinite, so are the gradients
double clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm);
/// The same over all parameters of an optimizer.
double clip_grad_norm(const Optimizer& optimizer, double max_norm);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/optim/clip-inl.h"
#endif
