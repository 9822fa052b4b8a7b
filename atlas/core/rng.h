// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//
// Element i of a random tensor depends on (seed, stream, i) alone, so results do not depend on threads or devices.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <utility>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// Four random 32-bit words for a 64-bit key (seed) and a 128-bit counter (stream, index).
struct Philox {
  uint32_t v[4];

  ATLAS_HOST_DEVICE Philox(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    v[0] = static_cast<uint32_t>(index);
    v[1] = static_cast<uint32_t>(index >> 32);
    v[2] = static_cast<uint32_t>(stream);
    v[3] = static_cast<uint32_t>(stream >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = uint64_t{0xD2511F53u} * v[0], b = uint64_t{0xCD9E8D57u} * v[2];
      const uint32_t x0 = static_cast<uint32_t>(b >> 32) ^ v[1] ^ k0, x2 = static_cast<uint32_t>(a >> 32) ^ v[3] ^ k1;
      v[0] = x0;
      v[1] = static_cast<uint32_t>(b);
      v[2] = x2;
      v[3] = static_cast<uint32_t>(a);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
  }

  /// Uniform in [0, 1) with 24 bits, from word i.
  ATLAS_HOST_DEVICE float uniform(int i) const { return static_cast<float>(v[i] >> 8) * 0x1p-24f; }
  /// Uniform in [0, 1) with 53 bits, from words 2i and 2i+1.
  ATLAS_HOST_DEVICE double uniform_double(int i) const {
    const uint64_t bits = (static_cast<uint64_t>(v[2 * i]) << 32) | v[2 * i + 1];
    return static_cast<double>(bits >> 11) * 0x1p-53;
  }
  /// Standard normal by Box-Muller from all four words.
  ATLAS_HOST_DEVICE double normal() const {
    const double u = 1.0 - uniform_double(0);  // in (0, 1]: the logarithm is finite
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * uniform_double(1));
  }
};

/// A seed and the number of random tensors drawn from it so far. Saving both resumes the sequence exactly.
struct Generator {
  uint64_t seed = 0;
  uint64_t stream = 0;
  /// A fresh stream number: each random op takes one.
  uint64_t next() { return stream++; }
};

namespace detail {
/// The generator that a GeneratorScope of this thread has put in the place of the process's, or null.
inline Generator*& thread_generator() {
  thread_local Generator* generator = nullptr;
  return generator;
}
}  // namespace detail

/// The generator that random ops use when none is given: one per process, which threads must not share, unless a
/// GeneratorScope lives on this thread.
inline Generator& default_generator() {
  static Generator of_process;
  Generator* const own = detail::thread_generator();
  return own != nullptr ? *own : of_process;
}

/// While it lives, a generator of its own is the default_generator() of this thread, so that several threads may draw
/// at once.
///
/// Example: `Generator own{seed, 0}; const GeneratorScope scope(own); Tensor x = randn({3});`
class GeneratorScope {
 public:
  /// @param generator  outlives this
  explicit GeneratorScope(Generator& generator) : before_(std::exchange(detail::thread_generator(), &generator)) {}
  ~GeneratorScope() { detail::thread_generator() = before_; }
  GeneratorScope(const GeneratorScope&) = delete;
  GeneratorScope& operator=(const GeneratorScope&) = delete;

 private:
  Generator* before_;
};

/// Restarts the default generator.
inline void manual_seed(uint64_t seed) { default_generator() = Generator{seed, 0}; }

}  // namespace atlas::inline ATLAS_ABI
