// Runs the kernels of atlas/cuda/ on the CPU, for tests: what a CUDA kernel may use, as a host compiler sees it.
//
// Each thread of a block is a fiber that runs until it meets others: at a barrier, a shuffle or a vote. A barrier that
// some threads never reach, a shuffle with a lane missing, an access outside a view: errors that name the kernel's op,
// the block and the thread, never hangs. Threads, warps and blocks run forwards in one launch and backwards in the
// next, so that a missing barrier shows. Blocks run one after the other, so results say nothing about races between
// blocks.
//
// Dynamic shared memory holds NaNs when a block starts; device memory (memory.cpp) does when it is allocated, and is
// out of reach outside kernels and copies. Bodies: emulate.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#include "atlas/autograd/node.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static  // kernels run one at a time, and the threads of a block on one thread of the host
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

// ---- Vector types that kernels use
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct uint3 {
  unsigned x, y, z;
};
inline float2 make_float2(float x, float y) { return {x, y}; }

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

// ---- Launching and meeting
namespace emulate {

/// What run() calls for each thread.
struct Body {
  void (*call)(const void*);
  const void* self;
};
void run_body(const char* op, dim3 grid, dim3 block, size_t shared, bool alone, Body body);

/// Runs body() for each thread of each block; `shared` bytes of dynamic shared memory; `alone` threads never meet.
/// @throws atlas::Error for a launch that a GPU refuses and for what threads do wrong.
template <class F>
void run(const char* op, dim3 grid, dim3 block, size_t shared, bool alone, const F& body) {
  run_body(op, grid, block, shared, alone, {[](const void* f) { (*static_cast<const F*>(f))(); }, &body});
}

void* dynamic_shared();
[[noreturn]] void out_of_bounds(int64_t i, int64_t count, int64_t n);
/// Raises an error that names the op, the block and the thread.
[[noreturn]] void fail_thread(const char* text);

/// Where a kernel calls, for messages; two threads that meet have to come from the same line.
struct Site {
  const char* what;
  const char* file;
  int line;
};

/// Every lane in `mask` gets all 32 lanes' `bytes` bytes (those of lanes outside the mask are zero). A meeting of the
/// lanes in the mask: all of them have to come here. `all` has room for 32 * bytes.
void warp_exchange(unsigned mask, const void* mine, size_t bytes, void* all, Site site);
inline void warp_exchange(const void* mine, size_t bytes, void* all, const char* file = __builtin_FILE(),
                          int line = __builtin_LINE()) {
  warp_exchange(0xffffffffu, mine, bytes, all, {"warp_exchange", file, line});
}
/// A barrier of the block; returns how many threads gave a true value.
int block_barrier(bool value, Site site);
/// This thread's place in its warp.
int lane();

/// While one exists, device memory may be touched by the host thread that made it; others wait. Kernels and copies.
class Access {
 public:
  explicit Access(const char* op);
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

/// Launches and copies that are kept instead of done, for core/cuda_graph.h: a graph as tests see it.
using Recording = std::vector<std::function<void()>>;
/// From now on this thread's launches and copies go into `to`.
void begin_recording(Recording* to);
void end_recording();
bool recording();
void record(std::function<void()> step);
void replay(const Recording& recording);

template <class T>
T shuffle(unsigned mask, T v, int source, Site site) {
  static_assert(std::is_trivially_copyable_v<T>);
  T all[32];
  warp_exchange(mask, &v, sizeof v, all, site);
  if ((mask >> source & 1u) == 0) fail_thread("a shuffle reads a lane that is not in its mask");
  return all[source];
}
template <class T, class F>
T warp_fold(unsigned mask, T v, Site site, F f) {
  T all[32];
  warp_exchange(mask, &v, sizeof v, all, site);
  bool first = true;
  T total{};
  for (int i = 0; i < 32; ++i) {
    if ((mask >> i & 1u) == 0) continue;
    total = first ? all[i] : f(total, all[i]);
    first = false;
  }
  return total;
}

}  // namespace emulate

// A call site as hidden arguments.
#define ATLAS_EMULATE_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(ATLAS_EMULATE_SITE) { emulate::block_barrier(false, {"__syncthreads", file, line}); }
inline int __syncthreads_count(int v, ATLAS_EMULATE_SITE) {
  return emulate::block_barrier(v != 0, {"__syncthreads_count", file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, ATLAS_EMULATE_SITE) {
  char all[32];
  emulate::warp_exchange(mask, "", 1, all, {"__syncwarp", file, line});
}
template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32, ATLAS_EMULATE_SITE) {
  const int me = emulate::lane();
  return emulate::shuffle(mask, v, (me & ~(width - 1)) + (source & (width - 1)), {"__shfl_sync", file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, ATLAS_EMULATE_SITE) {
  const int me = emulate::lane(), from = me - static_cast<int>(delta);
  return emulate::shuffle(mask, v, from < (me & ~(width - 1)) ? me : from, {"__shfl_up_sync", file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, ATLAS_EMULATE_SITE) {
  const int me = emulate::lane(), from = me + static_cast<int>(delta);
  return emulate::shuffle(mask, v, from > (me | (width - 1)) ? me : from, {"__shfl_down_sync", file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int lanes, int width = 32, ATLAS_EMULATE_SITE) {
  const int me = emulate::lane(), from = me ^ lanes;
  return emulate::shuffle(mask, v, from > (me | (width - 1)) ? me : from, {"__shfl_xor_sync", file, line});
}
inline unsigned __ballot_sync(unsigned mask, int v, ATLAS_EMULATE_SITE) {
  const unsigned bit = v != 0 ? 1u << emulate::lane() : 0u;
  return emulate::warp_fold(mask, bit, {"__ballot_sync", file, line}, [](unsigned a, unsigned b) { return a | b; });
}
template <class T>
T __reduce_add_sync(unsigned mask, T v, ATLAS_EMULATE_SITE) {
  return emulate::warp_fold(mask, v, {"__reduce_add_sync", file, line}, [](T a, T b) { return a + b; });
}
#undef ATLAS_EMULATE_SITE
[[noreturn]] inline void __trap() { emulate::fail_thread("__trap"); }

// ---- Atomics: one thread of the host runs all of a kernel
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return std::exchange(*p, v);
}

// ---- Intrinsics and CUDA's math
template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
