// Stochastic gradient descent with momentum.
#pragma once

#include "atlas/kernels/optim.h"
#include "atlas/optim/optimizer.h"

namespace atlas::inline ATLAS_ABI {

/// Settings of SGD; weight decay belongs to the groups.
struct SgdOptions {
  double lr = 0.1;        ///< learning rate, >= 0
  double momentum = 0;    ///< in [0, 1)
  bool nesterov = false;  ///< look ahead along the momentum; needs momentum > 0
};

/// Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's variant (Sutskever et al., ICML 2013).
///
///     g' = g + λ p,   b = μ b + g',   p -= lr b            (Nesterov: p -= lr (g' + μ b))
///
/// The decay λ is coupled (L2), there is no dampening, as in PyTorch.
class SGD : public Optimizer {
 public:
  /// @throws Error when a setting is out of range or a parameter is not a contiguous float tensor.
  explicit SGD(std::vector<ParameterGroup> groups, SgdOptions options = {})
      : Optimizer("SGD", std::move(groups), options.lr,
                  options.momentum != 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{}),
        options_(options) {
    check(options.momentum >= 0 && options.momentum < 1, "SGD", "momentum must be in [0, 1), got {}", options.momentum);
    check(!options.nesterov || options.momentum > 0, "SGD", "Nesterov's variant needs a momentum above 0");
  }

 protected:
  void update(std::vector<ParameterUpdate>& list) override {
    kernels::sgd_update(list, {options_.momentum, options_.nesterov});
  }

 private:
  SgdOptions options_;
};

}  // namespace atlas::inline ATLAS_ABI
