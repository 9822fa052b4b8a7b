// checkpoint(): trade a second forward pass for the memory of a block's saved tensors.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/backward.h"
#include "atlas/core/rng.h"

namespace atlas::inline ATLAS_ABI {

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
  const Generator before = default_generator();
  Tensor y;
  {
    NoGrad off;
    y = fn(inputs...).detach();
  }
  const std::vector<Tensor> tensors{inputs...};
  std::vector<Saved> saved;
  for (const Tensor& t : tensors) saved.emplace_back(t, "checkpoint");
  std::vector<bool> needs;
  for (const Tensor& t : tensors) needs.push_back(t.requires_grad());

  // An anchor keeps the block in the graph when only its captured parameters need gradients.
  Tensor anchor = empty({0});
  anchor.set_requires_grad();
  std::vector<Tensor> all = tensors;
  all.push_back(anchor);
  return record(
      "checkpoint", std::move(y), all,
      [fn = std::move(fn), saved = std::move(saved), needs, before, precision = autocast_dtype()](const Tensor& dy) {
        std::vector<Tensor> leaves;
        for (size_t i = 0; i < saved.size(); ++i) {
          Tensor leaf = saved[i]().detach();
          if (needs[i]) leaf.set_requires_grad();
          leaves.push_back(std::move(leaf));
        }
        const Generator now = std::exchange(default_generator(), before);
        const bool outer = std::exchange(detail::recomputing(), true);
        struct Restore {
          Generator generator;
          bool outer;
          ~Restore() {
            default_generator() = generator;
            detail::recomputing() = outer;
          }
        } restore{now, outer};
        Tensor again;
        {
          GradMode on(true);
          const Autocast as_before(precision);
          again = [&]<size_t... I>(std::index_sequence<I...>) { return fn(leaves[I]...); }
          (std::index_sequence_for<Inputs...>{});
        }
        if (again.requires_grad()) detail::run_backward({again}, {dy}, nullptr, false);
        Grads grads;
        for (const Tensor& leaf : leaves) grads.push_back(leaf.requires_grad() ? leaf.grad() : Tensor());
        grads.push_back(Tensor());
        return grads;
      });
}

}  // namespace atlas::inline ATLAS_ABI
