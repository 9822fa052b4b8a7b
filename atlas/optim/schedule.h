// Learning-rate schedules: pure functions of the fractional epoch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

/// Half a cosine from `from` to `to` as t goes from 0 to 1 (clamped): to + (from - to) (1 + cos πt) / 2.
/// Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5.
inline double cosine_between(double from, double to, double t) {
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  return to + 0.5 * (from - to) * (1 + std::cos(std::numbers::pi * t));
}

/// The learning rate over a run: a linear warm-up, then one of four shapes, then an optional cool-down.
///
///     epoch < warmup                     warmup_lr + (peak - warmup_lr) epoch / warmup
///     constant                           peak
///     multi_step                         peak gammaⁿ, n = milestones passed
///     cosine, until epochs - cooldown    half a cosine from peak to min_lr
///     polynomial                         min_lr + (peak - min_lr) (1 - t)^power, t from 0 to 1 until epochs - cooldown
///     the last `cooldown` epochs         min_lr, for each shape
///
/// Epochs are fractional: lr(update, updates_per_epoch) changes at every optimizer update. Polynomial and multi_step
/// are those of published recipes of segmentation and detection, which count in updates: the last update of the warm-up
/// has the peak already, and the last of all, of a polynomial, has min_lr.
struct Schedule {
  enum class Shape : uint8_t { constant, cosine, multi_step, polynomial };

  Shape shape = Shape::cosine;
  double peak = 1e-3;                   ///< learning rate after the warm-up
  double epochs = 1;                    ///< length of the whole run, warm-up and cool-down included
  double warmup = 0;                    ///< epochs of warm-up
  double warmup_lr = 0;                 ///< learning rate at epoch 0, when there is a warm-up
  double min_lr = 0;                    ///< where the cosine ends, and the rate of the cool-down
  double cooldown = 0;                  ///< epochs at min_lr in the end
  std::vector<double> milestones = {};  ///< epochs at which multi_step multiplies by gamma, increasing
  double gamma = 0.1;
  double power = 1;  ///< of the polynomial

  /// @throws Error when the parts do not fit into the run or a rate is negative.
  void validate() const {
    check(epochs >= 0 && warmup >= 0 && cooldown >= 0 && warmup + cooldown <= epochs, "schedule",
          "{} epochs cannot hold {} of warm-up and {} of cool-down", epochs, warmup, cooldown);
    check(peak >= 0 && warmup_lr >= 0 && min_lr >= 0 && gamma >= 0, "schedule",
          "learning rates must be >= 0, got peak {}, warm-up {}, minimum {}, gamma {}", peak, warmup_lr, min_lr, gamma);
    for (size_t i = 1; i < milestones.size(); ++i)
      check(milestones[i - 1] < milestones[i], "schedule", "milestones must increase, got {} before {}",
            milestones[i - 1], milestones[i]);
  }

  /// The learning rate at a fractional epoch >= 0.
  double at(double epoch) const {
    if (epoch < warmup) return warmup_lr + (peak - warmup_lr) * epoch / warmup;
    const double end = epochs - cooldown;
    if (cooldown > 0 && epoch >= end) return min_lr;
    switch (shape) {
      case Shape::constant:
        break;
      case Shape::cosine:
        return end > warmup ? cosine_between(peak, min_lr, (epoch - warmup) / (end - warmup)) : min_lr;
      case Shape::polynomial:
        return end > warmup ? polynomial((epoch - warmup) / (end - warmup)) : min_lr;
      case Shape::multi_step: {
        double lr = peak;
        for (double m : milestones) lr *= epoch >= m ? gamma : 1;
        return lr;
      }
    }
    return peak;
  }
  /// The learning rate of optimizer update `update` (counted from 0 over the whole run).
  double lr(int64_t update, int64_t updates_per_epoch) const {
    check(updates_per_epoch > 0, "schedule", "an epoch needs at least one update, got {}", updates_per_epoch);
    const auto per_epoch = static_cast<double>(updates_per_epoch), now = static_cast<double>(update);
    if (shape != Shape::polynomial && shape != Shape::multi_step) return at(now / per_epoch);
    const double warm = std::round(warmup * per_epoch), end = std::round((epochs - cooldown) * per_epoch);
    if (now < warm) return warmup_lr + (peak - warmup_lr) * now / std::max(warm - 1, 1.0);
    if (shape == Shape::multi_step) return at(std::max(now / per_epoch, warmup));
    return now < end ? polynomial((now - warm) / std::max(end - warm - 1, 1.0)) : min_lr;
  }

 private:
  double polynomial(double t) const { return min_lr + (peak - min_lr) * std::pow(std::max(0.0, 1 - t), power); }
};

}  // namespace atlas::inline ATLAS_ABI
