// How a block runs twice.
#pragma once

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/backward-inl.h"
#include "atlas/autograd/checkpoint.h"
#include "atlas/core/rng.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor detail::checkpoint(std::function<Tensor(const std::vector<Tensor>&)> fn,
                                       const std::vector<Tensor>& inputs) {
  const Generator before = default_generator();
  Tensor y;
  {
    NoGrad off;
    y = fn(inputs).detach();
  }
  std::vector<Saved> saved;
  for (const Tensor& t : inputs) saved.emplace_back(t, "checkpoint");
  std::vector<bool> needs;
  for (const Tensor& t : inputs) needs.push_back(t.requires_grad());

  // An anchor keeps the block in the graph when only its captured parameters need gradients.
  Tensor anchor = empty({0});
  anchor.set_requires_grad();
  std::vector<Tensor> all = inputs;
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
          again = fn(leaves);
        }
        if (again.requires_grad()) detail::run_backward({again}, {dy}, nullptr, false);
        Grads grads;
        for (const Tensor& leaf : leaves) grads.push_back(leaf.requires_grad() ? leaf.grad() : Tensor());
        grads.push_back(Tensor());
        return grads;
      });
}

}  // namespace atlas::inline ATLAS_ABI
