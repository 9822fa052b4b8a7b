// Adam and AdamW.
#pragma once

#include "atlas/kernels/optim.h"
#include "atlas/optim/optimizer.h"

namespace atlas::inline ATLAS_ABI {

/// Settings of Adam and AdamW; weight decay belongs to the groups.
struct AdamOptions {
  double lr = 1e-3;      ///< learning rate, >= 0
  double beta1 = 0.9;    ///< of the mean of gradients, in [0, 1)
  double beta2 = 0.999;  ///< of the mean of squared gradients, in [0, 1)
  double eps = 1e-8;     ///< added to the denominator, >= 0
};

namespace detail {
inline void check_betas(std::string_view op, double beta1, double beta2, double eps) {
  check(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, op, "betas must be in [0, 1), got {} and {}", beta1, beta2);
  check(eps >= 0, op, "eps must be >= 0, got {}", eps);
}
}  // namespace detail

/// Adam (Kingma and Ba, ICLR 2015, algorithm 1), with L2 decay λ added to the gradient.
///
///     g' = g + λ p,   m = β₁ m + (1 - β₁) g',   v = β₂ v + (1 - β₂) g'²
///     p -= lr m̂ / (√v̂ + eps),   m̂ = m / (1 - β₁ᵗ),   v̂ = v / (1 - β₂ᵗ)
class Adam : public Optimizer {
 public:
  /// @throws Error when a setting is out of range or a parameter is not a contiguous float tensor.
  explicit Adam(std::vector<ParameterGroup> groups, AdamOptions options = {})
      : Adam("Adam", std::move(groups), options, false) {}

 protected:
  Adam(std::string_view name, std::vector<ParameterGroup> groups, AdamOptions options, bool decoupled)
      : Optimizer(name, std::move(groups), options.lr, {"exp_avg", "exp_avg_sq"}),
        options_(options),
        decoupled_(decoupled) {
    detail::check_betas(name, options.beta1, options.beta2, options.eps);
  }
  void update(std::vector<ParameterUpdate>& list) override {
    kernels::adam_update(list, {options_.beta1, options_.beta2, options_.eps, decoupled_, 1});
  }

 private:
  AdamOptions options_;
  bool decoupled_;
};

/// AdamW: Adam with the decay taken out of the moments, p *= 1 - lr λ before the step
/// (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2).
class AdamW : public Adam {
 public:
  /// @throws Error when a setting is out of range or a parameter is not a contiguous float tensor.
  explicit AdamW(std::vector<ParameterGroup> groups, AdamOptions options = {})
      : Adam("AdamW", std::move(groups), options, true) {}
};

}  // namespace atlas::inline ATLAS_ABI
