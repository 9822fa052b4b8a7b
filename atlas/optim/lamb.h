// LAMB, the optimizer of the MambaVision recipe.
#pragma once

#include <algorithm>

#include "atlas/kernels/optim.h"
#include "atlas/optim/adam.h"
#include "atlas/optim/clip.h"

namespace atlas::inline ATLAS_ABI {

/// Settings of LAMB; weight decay belongs to the groups.
struct LambOptions {
  double lr = 5e-3;          ///< learning rate, >= 0
  double beta1 = 0.9;        ///< of the mean of gradients, in [0, 1)
  double beta2 = 0.999;      ///< of the mean of squared gradients, in [0, 1)
  double eps = 1e-6;         ///< added to the denominator, >= 0
  double max_grad_norm = 1;  ///< the whole gradient is divided by max(1, norm / max_grad_norm); 0 switches this off
};

/// LAMB (You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020, algorithm
/// 2).
///
///     d = m̂ / (√v̂ + eps) + λ p,   p -= lr (‖p‖ / ‖d‖) d
///
/// with Adam's bias-corrected moments m̂ and v̂. The trust ratio ‖p‖ / ‖d‖ is 1 where either norm is zero, and in groups
/// without decay.
class LAMB : public Optimizer {
 public:
  /// @throws Error when a setting is out of range or a parameter is not a contiguous float tensor.
  explicit LAMB(std::vector<ParameterGroup> groups, LambOptions options = {})
      : Optimizer("LAMB", std::move(groups), options.lr, {"exp_avg", "exp_avg_sq"}), options_(options) {
    detail::check_betas("LAMB", options.beta1, options.beta2, options.eps);
    check(options.max_grad_norm >= 0, "LAMB", "max_grad_norm must be >= 0, got {}", options.max_grad_norm);
  }

 protected:
  void before_step() override {
    scale_ = 1;
    if (options_.max_grad_norm > 0) scale_ = 1 / std::max(1.0, grad_norm(parameters()) / options_.max_grad_norm);
  }
  void update(std::vector<ParameterUpdate>& list) override {
    kernels::lamb_update(list, {options_.beta1, options_.beta2, options_.eps, true, scale_});
  }

 private:
  LambOptions options_;
  double scale_ = 1;
};

}  // namespace atlas::inline ATLAS_ABI
