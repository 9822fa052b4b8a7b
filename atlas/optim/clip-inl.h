// Bodies of clip.h.
#pragma once

#include <cmath>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/kernels/optim.h"
#include "atlas/optim/clip.h"
#include "atlas/optim/optimizer.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE std::vector<Tensor> gradients(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> all;
  for (const Tensor& p : parameters)
    if (const Tensor g = p.grad(); g.defined()) all.push_back(g);
  return all;
}

ATLAS_INLINE double norm_of(std::vector<Tensor> tensors) {
  for (Tensor& t : tensors)
    if (!t.is_contiguous()) t = copy_of(t);
  return std::sqrt(kernels::sum_of_squares(std::span<const Tensor>(tensors)));
}

ATLAS_INLINE void scale(const std::vector<Tensor>& tensors, double factor) {
  const NoGrad off;
  std::vector<Tensor> whole;
  for (Tensor t : tensors) {
    if (t.is_contiguous()) {
      t.bump_version();
      whole.push_back(t);
    } else {
      t.mul_(factor);
    }
  }
  kernels::scale(whole, factor);
}

}  // namespace detail

ATLAS_INLINE double grad_norm(const std::vector<Tensor>& parameters) {
  return detail::norm_of(detail::gradients(parameters));
}

ATLAS_INLINE double clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm) {
  check(max_norm > 0, "clip_grad_norm", "max_norm must be above 0, got {}", max_norm);
  const std::vector<Tensor> all = detail::gradients(parameters);
  const double norm = detail::norm_of(all), factor = max_norm / (norm + 1e-6);
  if (!(factor >= 1)) detail::scale(all, factor);
  return norm;
}

ATLAS_INLINE double clip_grad_norm(const Optimizer& optimizer, double max_norm) {
  return clip_grad_norm(optimizer.parameters(), max_norm);
}

}  // namespace atlas::inline ATLAS_ABI
