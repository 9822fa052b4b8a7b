// RandAugment: a few of fifteen operations, drawn for each image, from a policy in timm's notation.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/data/augment_ops.h"
#include "atlas/data/transform.h"

namespace atlas::inline ATLAS_ABI::data {

/// What RandAugment draws from. `rand-m9-n2-mstd0.5-inc1` has all but two of the fields.
struct RandAugmentPolicy {
  double magnitude = 10;     ///< m: in [0, largest]
  int64_t operations = 2;    ///< n: per image, each drawn from all, with repetition
  double probability = 0.5;  ///< p: of each to be done
  double deviation = 0;      ///< mstd: magnitudes are normal about `magnitude`; above 100: uniform in [0, magnitude]
  double largest = 10;       ///< mmax: magnitudes are clamped to [0, largest]; at most 30
  bool increasing = false;   ///< inc: effects grow with the magnitude; see op_argument()

  /// Reads timm's notation: "rand", then parts with a dash before each, in any order, each at most once.
  /// @throws Error naming the part and the character where it begins, and what is allowed there.
  static RandAugmentPolicy parse(std::string_view text);
  /// The policy in that notation, all parts.
  std::string str() const;
};

/// One operation of one image.
struct AugmentStep {
  AugmentOp op = AugmentOp::invert;
  double magnitude = 0;
  double argument = 0;  ///< op_argument()
  Interpolation mode = Interpolation::bicubic;
};

/// Does to each image, with its masks and boxes, what its random numbers draw from a policy. It comes after crops and
/// flips and before Normalize.
///
/// Random numbers belong to the sample, and each place in the policy draws the same number of them, whatever comes out.
struct RandAugment {
  RandAugmentPolicy policy = {};
  std::array<double, 3> fill = {128, 128, 128};  ///< color of what comes in from beyond the border, in 0..255
  std::optional<Interpolation> mode{};           ///< none: bilinear or bicubic, by chance

  /// The operations of one image, in order.
  ATLAS_INLINE std::vector<AugmentStep> sample(Rng& rng) const;
  /// @param image uint8 [H,W,3]    @throws Error for another image.
  ATLAS_INLINE Tensor operator()(const Tensor& image, Rng& rng) const;
  ATLAS_INLINE void apply(Sample& sample, Rng& rng) const;
  /// One operation, on an image and its targets.
  ATLAS_INLINE void apply(const AugmentStep& step, Sample& sample) const;

  /// As training uses it: beyond the border stands the mean color, which normalization makes nearly 0.
  static RandAugment of(std::string_view policy, const Normalize& normalize) {
    RandAugment r{RandAugmentPolicy::parse(policy)};
    for (size_t c = 0; c < 3; ++c) r.fill[c] = std::nearbyint(255 * static_cast<double>(normalize.mean[c]));
    return r;
  }
};

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/rand_augment-inl.h"
#endif
