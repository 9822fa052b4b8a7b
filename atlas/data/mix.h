// Mixing of a batch: mixup, CutMix and label smoothing, which turn labels into soft targets. Mix is what a task of
// classification does to a loader's batches (LoaderOptions::collate).
#pragma once

#include <algorithm>
#include <cmath>

#include "atlas/data/batch.h"
#include "atlas/data/random.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

/// How a batch is mixed. The default mixes nothing.
struct MixOptions {
  double mixup = 0;               ///< a of lambda ~ Beta(a, a) for mixup; 0 = off (Zhang et al., ICLR 2018)
  double cutmix = 0;              ///< a of lambda ~ Beta(a, a) for CutMix; 0 = off (Yun et al., ICCV 2019)
  double probability = 1;         ///< of a batch to be mixed at all
  double switch_to_cutmix = 0.5;  ///< probability of CutMix where both are on
  double label_smoothing = 0;     ///< e: targets are (1 - e) onehot + e / classes
  /// True when targets are no longer class numbers.
  bool soft_targets() const { return mixup > 0 || cutmix > 0 || label_smoothing > 0; }
};

/// @throws Error naming the field that is out of range.
inline void validate(const MixOptions& o) {
  check(o.mixup >= 0 && std::isfinite(o.mixup), "mix", "mixup must be >= 0, got {}", o.mixup);
  check(o.cutmix >= 0 && std::isfinite(o.cutmix), "mix", "cutmix must be >= 0, got {}", o.cutmix);
  check(o.probability >= 0 && o.probability <= 1, "mix", "probability must lie in [0, 1], got {}", o.probability);
  check(o.switch_to_cutmix >= 0 && o.switch_to_cutmix <= 1, "mix", "switch_to_cutmix must lie in [0, 1], got {}",
        o.switch_to_cutmix);
  check(o.label_smoothing >= 0 && o.label_smoothing < 1, "mix", "label_smoothing must lie in [0, 1), got {}",
        o.label_smoothing);
}

/// Soft targets of a batch whose image i is lambda parts image i and 1 - lambda parts image B-1-i:
/// t_i = (1 - e) (lambda onehot(y_i) + (1 - lambda) onehot(y_{B-1-i})) + e / C.
/// @param labels int64 [B], 0 <= label < classes    @return float32 [B,classes]
inline Tensor mixed_targets(const Tensor& labels, int64_t classes, double lambda, double smoothing) {
  const int64_t batch = labels.numel();
  const int64_t* y = labels.data<int64_t>();
  Tensor targets = empty({batch, classes}, float32, Device{});
  float* t = targets.data<float>();
  std::fill(t, t + batch * classes, static_cast<float>(smoothing / static_cast<double>(classes)));
  for (int64_t i = 0; i < batch; ++i) {
    check(y[i] >= 0 && y[i] < classes, "mix", "label {} is outside the {} classes", y[i], classes);
    t[i * classes + y[i]] += static_cast<float>((1 - smoothing) * lambda);
  }
  for (int64_t i = 0; i < batch; ++i)
    t[i * classes + y[batch - 1 - i]] += static_cast<float>((1 - smoothing) * (1 - lambda));
  return targets;
}

/// Blends image i with image B-1-i, in place: x_i <- lambda x_i + (1 - lambda) x_{B-1-i}.
/// @param images float32 [B,H,W,C], contiguous
inline void mixup_(Tensor& images, double lambda) {
  const int64_t batch = images.shape()[0], n = batch > 0 ? images.numel() / batch : 0;
  const float a = static_cast<float>(lambda), b = static_cast<float>(1 - lambda);
  for (int64_t i = 0; i < batch / 2; ++i) {
    float* x = images.data<float>() + i * n;
    float* y = images.data<float>() + (batch - 1 - i) * n;
    for (int64_t j = 0; j < n; ++j) {
      const float u = x[j], v = y[j];
      x[j] = a * u + b * v;
      y[j] = a * v + b * u;
    }
  }
}

/// How one batch is mixed.
struct MixPlan {
  enum class Kind : uint8_t { none, mixup, cutmix };
  Kind kind = Kind::none;
  double lambda = 1;                                 ///< share of the image itself, in the targets too
  int64_t top = 0, left = 0, bottom = 0, right = 0;  ///< the rectangle of CutMix
};

/// The rectangle of CutMix: sides sqrt(1 - lambda) of the image's and a uniform center, cut off at the borders. Lambda
/// of the plan is corrected for the cut.
inline MixPlan cutmix_plan(int64_t height, int64_t width, double lambda, Rng& rng) {
  if (height == 0 || width == 0) return {MixPlan::Kind::cutmix};
  const double side = std::sqrt(std::clamp(1 - lambda, 0.0, 1.0));
  const int64_t half_h = static_cast<int64_t>(side * static_cast<double>(height)) / 2;
  const int64_t half_w = static_cast<int64_t>(side * static_cast<double>(width)) / 2;
  const int64_t cy = rng.below(height), cx = rng.below(width);
  const int64_t top = std::max<int64_t>(cy - half_h, 0), bottom = std::min(cy + half_h, height);
  const int64_t left = std::max<int64_t>(cx - half_w, 0), right = std::min(cx + half_w, width);
  const double stays = 1 - static_cast<double>((bottom - top) * (right - left)) / static_cast<double>(height * width);
  return {MixPlan::Kind::cutmix, stays, top, left, bottom, right};
}

/// Swaps the plan's rectangle between image i and image B-1-i, in place.
/// @param images float32 [B,H,W,C], contiguous
inline void cutmix_(Tensor& images, const MixPlan& plan) {
  const Shape& s = images.shape();
  const int64_t batch = s[0], width = s[2], channels = s[3], n = s[1] * width * channels;
  for (int64_t i = 0; i < batch / 2; ++i) {
    for (int64_t y = plan.top; y < plan.bottom; ++y) {
      float* a = images.data<float>() + i * n + (y * width + plan.left) * channels;
      float* b = images.data<float>() + (batch - 1 - i) * n + (y * width + plan.left) * channels;
      std::swap_ranges(a, a + (plan.right - plan.left) * channels, b);
    }
  }
}

/// What is drawn for a batch of images of height x width.
inline MixPlan plan_mix(const MixOptions& options, int64_t height, int64_t width, Rng& rng) {
  if (!((options.mixup > 0 || options.cutmix > 0) && rng.chance(options.probability))) return {};
  const bool cut = options.cutmix > 0 && (options.mixup <= 0 || rng.chance(options.switch_to_cutmix));
  const double a = cut ? options.cutmix : options.mixup;
  const double lambda = rng.beta(a, a);
  return cut ? cutmix_plan(height, width, lambda, rng) : MixPlan{MixPlan::Kind::mixup, lambda};
}

/// Mixes a batch in place as a plan says.
/// @param images float32 [B,H,W,C], contiguous
inline void apply_mix(Tensor& images, const MixPlan& plan) {
  if (plan.kind == MixPlan::Kind::cutmix) cutmix_(images, plan);
  if (plan.kind == MixPlan::Kind::mixup) mixup_(images, plan.lambda);
}

/// Mixes a batch in place as `options` say, one lambda per batch, and gives its soft targets.
/// @param images float32 [B,H,W,C], contiguous; changed in place    @param labels int64 [B]
/// @return float32 [B,classes]
inline Tensor mix_batch(Tensor& images, const Tensor& labels, int64_t classes, const MixOptions& options, Rng& rng) {
  const MixPlan plan = plan_mix(options, images.shape()[1], images.shape()[2], rng);
  apply_mix(images, plan);
  return mixed_targets(labels, classes, plan.lambda, options.label_smoothing);
}

/// Mixes batches of images that have one label each: adds the target "soft_label", float32 [B,classes], beside "label".
///
/// What is left to the device of a batch gets its mixing there.
class Mix {
 public:
  /// @throws Error for options out of range.
  Mix(const MixOptions& options, int64_t classes) : options_(options), classes_(classes) { validate(options); }
  /// Nothing is done where options neither mix nor smooth.
  void operator()(Batch& batch, Rng& rng) const {
    if (!options_.soft_targets()) return;
    const Target& label = batch.targets.at(kLabel);
    check(label.kind == TargetKind::label && label.value.dim() == 1 && label.offsets.empty(), "mix",
          "needs one label for each image, int64[{}], got {} '{}' {}{}", batch.images.size(0), name(label.kind), kLabel,
          describe(label.value), label.offsets.empty() ? "" : ", of objects");
    const auto [height, width] = batch.size();
    const MixPlan plan = plan_mix(options_, height, width, rng);
    for (const auto& [key, target] : batch.targets)
      check(plan.kind == MixPlan::Kind::none || !target.has_places(), "mix",
            "{} '{}' ({}) cannot be mixed with another image's: mixup and cutmix are for classification",
            name(target.kind), key, describe(target.value));
    if (batch.plans.defined()) {
      batch.plan.mix = static_cast<int>(plan.kind);
      batch.plan.lambda = static_cast<float>(plan.lambda);
      batch.plan.top = plan.top;
      batch.plan.left = plan.left;
      batch.plan.bottom = plan.bottom;
      batch.plan.right = plan.right;
    } else {
      apply_mix(batch.images, plan);
    }
    batch.targets.set(kSoftLabel, {TargetKind::soft_label,
                                   mixed_targets(label.value, classes_, plan.lambda, options_.label_smoothing)});
  }

 private:
  MixOptions options_;
  int64_t classes_;
};

}  // namespace atlas::inline ATLAS_ABI::data
