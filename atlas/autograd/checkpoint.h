// checkpoint(): trade a second forward pass for the memory of a block's saved tensors.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "atlas/autograd/backward.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
/// checkpoint() without the type of its function.
Tensor checkpoint(std::function<Tensor(const std::vector<Tensor>&)> fn, const std::vector<Tensor>& inputs);
}  // namespace detail

/// y = fn(inputs), keeping only the inputs; backward runs fn again to get at its gradients.
///
/// Random ops draw the same numbers both times, Autocast is what it was, and layers with side effects see
/// is_recomputing() the second time. Parameters that fn captures get their gradients through backward() (not through
/// grad(), which follows `inputs` alone).
/// @param fn  a pure function of its arguments, one tensor out (Chen et al., "Training deep nets with sublinear memory
/// cost")
template <class F, class... Inputs>
Tensor checkpoint(F fn, const Inputs&... inputs) {
  if (!grad_enabled()) return fn(inputs...);
  return detail::checkpoint(
      [fn = std::move(fn)](const std::vector<Tensor>& x) {
        return [&]<size_t... I>(std::index_sequence<I...>) { return fn(x[I]...); }
        (std::index_sequence_for<Inputs...>{});
      },
      {inputs...});
}

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/autograd/checkpoint-inl.h"
#endif
