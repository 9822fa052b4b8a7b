// Learning-rate schedules: pure functions of the fractional epoch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// Half a cosine from `from` to `to` as t goes from 0 to 1 (clamped): to + (from - to) (1 + cos πt) / 2.
/// Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5.
double cosine_between(double from, double to, double t);

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
  void validate() const;

  /// The learning rate at a fractional epoch >= 0.
  double at(double epoch) const;
  /// The learning rate of optimizer update `update` (counted from 0 over the whole run).
  double lr(int64_t update, int64_t updates_per_epoch) const;

 private:
  double polynomial(double t) const { return min_lr + (peak - min_lr) * std::pow(std::max(0.0, 1 - t), power); }
};

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/optim/schedule-inl.h"
#endif
