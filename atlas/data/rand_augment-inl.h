// Bodies of rand_augment.h.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "atlas/data/rand_augment.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// One part of a policy's text, such as "mstd0.5", for messages.
struct PolicyPart {
  std::string_view text, whole;
  size_t begin;

  template <class... Args>
  [[noreturn]] void wrong(fmt::format_string<Args...> why, Args&&... args) const {
    fail("rand_augment", "'{}', character {}, '{}': {}", whole, begin + 1, text,
         fmt::format(why, std::forward<Args>(args)...));
  }
  std::string_view key() const { return text.substr(0, std::min(text.find_first_of("+-.0123456789"), text.size())); }
  double number(double low, double high) const {
    const std::string_view digits = text.substr(key().size());
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() || !(value >= low && value <= high))
      wrong("{} needs a number in {}..{} behind it", key(), low, high);
    return value;
  }
  int64_t whole_number(int64_t low, int64_t high) const {
    const double value = number(static_cast<double>(low), static_cast<double>(high));
    if (value != std::floor(value)) wrong("{} needs a whole number in {}..{} behind it", key(), low, high);
    return static_cast<int64_t>(value);
  }
};

}  // namespace detail

ATLAS_INLINE RandAugmentPolicy RandAugmentPolicy::parse(std::string_view text) {
  RandAugmentPolicy p;
  std::vector<std::string_view> seen;
  detail::PolicyPart magnitude{{}, text, 0};
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('-', begin), text.size());
    const detail::PolicyPart part{text.substr(begin, end - begin), text, begin};
    const std::string_view key = part.key();
    if (begin == 0) {
      if (part.text != "rand") part.wrong("a policy begins with 'rand', such as rand-m9-mstd0.5-inc1");
    } else {
      if (std::find(seen.begin(), seen.end(), key) != seen.end()) part.wrong("{} stands there twice", key);
      seen.push_back(key);
      if (key == "m")
        p.magnitude = part.number(0, 30), magnitude = part;
      else if (key == "n")
        p.operations = part.whole_number(0, 100);
      else if (key == "p")
        p.probability = part.number(0, 1);
      else if (key == "mstd")
        p.deviation = part.number(0, 1e9);
      else if (key == "mmax")
        p.largest = part.number(0, 30);
      else if (key == "inc")
        p.increasing = part.whole_number(0, 1) == 1;
      else
        part.wrong(
            "there are m (magnitude), n (operations), p (probability), mstd (deviation), mmax (largest "
            "magnitude) and inc (increasing), each with a number");
    }
    begin = end + 1;
  }
  if (magnitude.text.empty()) p.magnitude = std::min(p.magnitude, p.largest);
  if (p.magnitude > p.largest)
    magnitude.wrong("the magnitude is above {}, the largest there is (mmax{} would allow it)", p.largest, p.magnitude);
  return p;
}

ATLAS_INLINE std::string RandAugmentPolicy::str() const {
  return fmt::format("rand-m{}-n{}-p{}-mstd{}-mmax{}-inc{}", magnitude, operations, probability, deviation, largest,
                     increasing ? 1 : 0);
}

ATLAS_INLINE std::vector<AugmentStep> RandAugment::sample(Rng& rng) const {
  std::vector<AugmentStep> steps;
  for (int64_t i = 0; i < policy.operations; ++i) {
    AugmentStep step;
    step.op = static_cast<AugmentOp>(rng.below(kAugmentOps));
    const bool done = rng.chance(policy.probability);
    const double normal = rng.normal(), uniform = rng.uniform();
    const int sign = rng.chance(0.5) ? -1 : 1;
    const bool smooth = rng.chance(0.5);
    if (!done) continue;
    step.magnitude = policy.deviation > 100 ? uniform * policy.magnitude : policy.magnitude + policy.deviation * normal;
    step.magnitude = std::clamp(step.magnitude, 0.0, policy.largest);
    step.argument = op_argument(step.op, step.magnitude, policy.increasing, sign);
    step.mode = mode ? *mode : smooth ? Interpolation::bicubic : Interpolation::bilinear;
    steps.push_back(step);
  }
  return steps;
}

ATLAS_INLINE void RandAugment::apply(const AugmentStep& step, Sample& sample) const {
  const Tensor x = as_image(sample.image, "RandAugment");
  check(x.dtype() == uint8 && x.size(2) == 3, "RandAugment",
        "needs a uint8 image [H,W,3], before normalization, got {}", describe(x));
  if (moves_pixels(step.op))
    op_geometry(step.op, step.argument, x.size(0), x.size(1), step.mode, fill).apply(sample);
  else
    sample.image = op_colors(step.op, step.argument, x);
}

ATLAS_INLINE void RandAugment::apply(Sample& s, Rng& rng) const {
  for (const AugmentStep& step : sample(rng)) apply(step, s);
}

ATLAS_INLINE Tensor RandAugment::operator()(const Tensor& image, Rng& rng) const {
  Sample s{image};
  apply(s, rng);
  return s.image;
}

}  // namespace atlas::inline ATLAS_ABI::data
