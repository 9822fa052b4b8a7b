// Bodies of schedule.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "atlas/core/error.h"
#include "atlas/optim/schedule.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE double cosine_between(double from, double to, double t) {
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  return to + 0.5 * (from - to) * (1 + std::cos(std::numbers::pi * t));
}

ATLAS_INLINE void Schedule::validate() const {
  check(epochs >= 0 && warmup >= 0 && cooldown >= 0 && warmup + cooldown <= epochs, "schedule",
        "{} epochs cannot hold {} of warm-up and {} of cool-down", epochs, warmup, cooldown);
  check(peak >= 0 && warmup_lr >= 0 && min_lr >= 0 && gamma >= 0, "schedule",
        "learning rates must be >= 0, got peak {}, warm-up {}, minimum {}, gamma {}", peak, warmup_lr, min_lr, gamma);
  for (size_t i = 1; i < milestones.size(); ++i)
    check(milestones[i - 1] < milestones[i], "schedule", "milestones must increase, got {} before {}",
          milestones[i - 1], milestones[i]);
}

ATLAS_INLINE double Schedule::at(double epoch) const {
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

ATLAS_INLINE double Schedule::lr(int64_t update, int64_t updates_per_epoch) const {
  check(updates_per_epoch > 0, "schedule", "an epoch needs at least one update, got {}", updates_per_epoch);
  const auto per_epoch = static_cast<double>(updates_per_epoch), now = static_cast<double>(update);
  if (shape != Shape::polynomial && shape != Shape::multi_step) return at(now / per_epoch);
  const double warm = std::round(warmup * per_epoch), end = std::round((epochs - cooldown) * per_epoch);
  if (now < warm) return warmup_lr + (peak - warmup_lr) * now / std::max(warm - 1, 1.0);
  if (shape == Shape::multi_step) return at(std::max(now / per_epoch, warmup));
  return now < end ? polynomial((now - warm) / std::max(end - warm - 1, 1.0)) : min_lr;
}

}  // namespace atlas::inline ATLAS_ABI
