// The machine's ceiling for float32: multiply-adds on registers, measured beside what is compared with it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "atlas/core/isa.h"
#include "atlas/core/parallel.h"

namespace bench {

namespace detail {

constexpr int kChains = 12;  // independent, so that latency is hidden: 4 or 5 cycles on two units

// Vectors of the wanted width in plain C++; the loop is kChains multiply-adds, contracted by the compiler.
#define ATLAS_BENCH_FMA(NAME, TARGET, BYTES)                                              \
  TARGET inline float NAME(int64_t rounds, float seed) {                                  \
    typedef float Vector __attribute__((vector_size(BYTES)));                             \
    Vector sum[kChains];                                                                  \
    const Vector a = seed + Vector{}, b = 1e-9f * seed + Vector{};                        \
    for (int i = 0; i < kChains; ++i) sum[i] = a * static_cast<float>(i);                 \
    for (int64_t r = 0; r < rounds; ++r) {                                                \
      _Pragma("GCC unroll 12") for (int i = 0; i < kChains; ++i) sum[i] = sum[i] * a + b; \
    }                                                                                     \
    Vector all{};                                                                         \
    for (int i = 0; i < kChains; ++i) all += sum[i];                                      \
    return all[0] + all[BYTES / 8];                                                       \
  }
#if defined(__x86_64__)
ATLAS_BENCH_FMA(fma_avx512, __attribute__((target("avx512f,fma"))), 64)
ATLAS_BENCH_FMA(fma_avx2, __attribute__((target("avx2,fma"))), 32)
#endif
ATLAS_BENCH_FMA(fma_portable, , 16)
#undef ATLAS_BENCH_FMA

}  // namespace detail

/// float32 operations per second of the instruction set in use on all threads, measured for about `seconds`.
inline double fma_peak(double seconds = 0.05) {
  using Clock = std::chrono::steady_clock;
  const atlas::CpuIsa isa = atlas::cpu_isa();
  const int64_t lanes = isa == atlas::CpuIsa::avx512 ? 16 : isa == atlas::CpuIsa::avx2 ? 8 : 4;
  constexpr int64_t rounds = 100'000;  // about a tenth of a millisecond a piece: some of the runs are undisturbed
  volatile float seed = 1.0f;
  const int64_t pieces = 2 * atlas::num_threads();
  const auto run = [&] {
    atlas::parallel_for(pieces, 1, [&](int64_t, int64_t) {
      [[maybe_unused]] volatile float sink;
#if defined(__x86_64__)
      if (isa == atlas::CpuIsa::avx512) return void(sink = detail::fma_avx512(rounds, seed));
      if (isa == atlas::CpuIsa::avx2) return void(sink = detail::fma_avx2(rounds, seed));
#endif
      sink = detail::fma_portable(rounds, seed);
    });
  };
  run();
  double best = 1e300;
  const auto start = Clock::now();
  do {
    const auto begin = Clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
  } while (std::chrono::duration<double>(Clock::now() - start).count() < seconds);
  return 2.0 * static_cast<double>(detail::kChains * lanes * rounds * pieces) / best;
}

}  // namespace bench
