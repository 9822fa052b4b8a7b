// Which instruction set the CPU's hot kernels use: found at run time, so one binary runs on every machine.
// Not in atlas.h: include it by name.
#pragma once

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

/// Instruction sets that kernels are compiled for. `portable` is vectors of four floats: SSE2, NEON or plain code.
enum class CpuIsa { portable, avx2, avx512 };

/// "portable", "avx2" (with FMA) or "avx512" (F).
inline const char* name(CpuIsa isa) {
  return isa == CpuIsa::avx512 ? "avx512" : isa == CpuIsa::avx2 ? "avx2" : "portable";
}

/// True when this machine runs code for `isa`.
inline bool cpu_supports(CpuIsa isa) {
#if defined(__x86_64__)
  if (isa == CpuIsa::avx512) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma");
  if (isa == CpuIsa::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return isa == CpuIsa::portable;
}

namespace detail {

inline CpuIsa parse_isa(std::string_view text) {
  for (CpuIsa isa : {CpuIsa::portable, CpuIsa::avx2, CpuIsa::avx512})
    if (text == name(isa)) {
      check(cpu_supports(isa), "cpu_isa", "this machine has no {}", text);
      return isa;
    }
  throw Error("[cpu_isa] ATLAS_CPU_ISA must be portable, avx2 or avx512, got '" + std::string(text) + "'");
}

inline std::atomic<CpuIsa>& isa_in_use() {
  static std::atomic<CpuIsa> isa = [] {
    if (const char* wanted = std::getenv("ATLAS_CPU_ISA"); wanted != nullptr && *wanted != '\0')
      return parse_isa(wanted);
    for (CpuIsa best : {CpuIsa::avx512, CpuIsa::avx2})
      if (cpu_supports(best)) return best;
    return CpuIsa::portable;
  }();
  return isa;
}

}  // namespace detail

/// The instruction set in use: the best of this machine, or what the environment variable ATLAS_CPU_ISA names.
/// @throws Error at the first use when the variable names an unknown set or one this machine lacks.
inline CpuIsa cpu_isa() { return detail::isa_in_use(); }
/// Chooses the instruction set of later kernels (tests run each one). @throws Error when this machine lacks it.
inline void set_cpu_isa(CpuIsa isa) {
  check(cpu_supports(isa), "set_cpu_isa", "this machine has no {}", name(isa));
  detail::isa_in_use() = isa;
}

}  // namespace atlas::inline ATLAS_ABI
