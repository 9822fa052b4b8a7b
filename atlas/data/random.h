// Random numbers for data: a sequence that belongs to one sample of one epoch, so that augmentation does not depend on
// which worker thread does it, nor on what was drawn before.
// Not in atlas.h: include it by name.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "atlas/core/error.h"
#include "atlas/core/rng.h"

namespace atlas::inline ATLAS_ABI::data {

/// What a sequence is used for; part of its key, so that uses do not share numbers.
enum class Purpose : uint64_t { shuffle = 0xD1, sample = 0xD2, mix = 0xD3, synthetic = 0xD4 };

/// A sequence of random numbers keyed by (seed, purpose, epoch, index), from Philox blocks of four words.
///
/// Sequences of different keys do not overlap while index < 2^40, epoch < 2^56 and fewer than 2^24 blocks are drawn.
class Rng {
 public:
  Rng(uint64_t seed, Purpose purpose, int64_t epoch, int64_t index)
      : seed_(seed),
        stream_((static_cast<uint64_t>(purpose) << 56) ^ static_cast<uint64_t>(epoch)),
        counter_(static_cast<uint64_t>(index) << 24) {}

  /// 32 random bits.
  uint32_t bits() {
    if (used_ == 4) {
      block_ = Philox(seed_, stream_, counter_++);
      used_ = 0;
    }
    return block_.v[used_++];
  }
  /// 64 random bits.
  uint64_t bits64() {
    const uint64_t high = bits();
    return (high << 32) | bits();
  }
  /// Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(bits64() >> 11) * 0x1p-53; }
  /// Uniform in [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// True with probability p.
  bool chance(double p) { return uniform() < p; }
  /// A uniform integer in [0, n), n > 0.
  int64_t below(int64_t n) {
    // Multiply-shift: its bias is below n / 2^64.
    __extension__ using Wide = unsigned __int128;
    return static_cast<int64_t>((Wide{bits64()} * static_cast<Wide>(n)) >> 64);
  }
  /// Standard normal (Box-Muller).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }
  /// Gamma with shape a > 0 and scale 1 (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000).
  double gamma(double a) {
    if (a < 1.0) {
      const double u = 1.0 - uniform();
      return gamma(a + 1.0) * std::pow(u, 1.0 / a);
    }
    const double d = a - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
    for (;;) {
      const double x = normal(), t = 1.0 + c * x;
      const double u = 1.0 - uniform();
      if (t > 0 && std::log(u) < 0.5 * x * x + d * (1.0 - t * t * t + 3.0 * std::log(t))) return d * t * t * t;
    }
  }
  /// Beta(a, b), a and b > 0.
  double beta(double a, double b) {
    const double x = gamma(a), y = gamma(b);
    // Both underflow only for tiny a and b, where the distribution sits on its two ends.
    return x + y > 0 ? x / (x + y) : (chance(a / (a + b)) ? 1.0 : 0.0);
  }

  /// Where the next 32 bits come from: a word of a Philox block.
  struct Place {
    uint64_t seed, stream, counter, word;
  };
  Place place() const {
    if (used_ == 4) return {seed_, stream_, counter_, 0};
    return {seed_, stream_, counter_ - 1, static_cast<uint64_t>(used_)};
  }

 private:
  uint64_t seed_, stream_, counter_;
  Philox block_{0, 0, 0};
  int used_ = 4;
};

/// A random order of 0 .. n-1 that depends on (seed, epoch, n) alone (Fisher-Yates).
inline std::vector<int64_t> permutation(int64_t n, uint64_t seed, int64_t epoch) {
  check(n >= 0, "permutation", "needs n >= 0, got {}", n);
  std::vector<int64_t> order(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i;
  Rng rng(seed, Purpose::shuffle, epoch, 0);
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(rng.below(i + 1))]);
  return order;
}

}  // namespace atlas::inline ATLAS_ABI::data
