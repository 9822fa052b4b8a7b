// How every kernel of this room is started, and the few things that all of them use.
//
// A kernel is an ordinary CUDA function: blocks, threads, shared memory, shuffles and barriers. nvcc compiles it for
// GPUs. Under ATLAS_CUDA_EMULATE (the tests) a host compiler reads the same source and tests/cuda/emulate.h runs it,
// block by block, on the CPU; so kernels use launch() instead of <<<>>>, and shared_memory() instead of extern arrays.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "atlas/core/cuda.h"
#include "atlas/core/dtype.h"
#include "atlas/tensor/tensor.h"

#if ATLAS_CUDA_EMULATE
#include "tests/cuda/emulate.h"
#else
#include <cuda_runtime.h>
#endif

// Bounds of views are checked in debug builds and under emulation.
#if ATLAS_CUDA_EMULATE || !defined(NDEBUG)
#define ATLAS_CUDA_BOUNDS 1
#else
#define ATLAS_CUDA_BOUNDS 0
#endif

namespace atlas::inline ATLAS_ABI::cuda {

/// Whether the environment variable `name` turns something on: anything but 0 does; unset or empty leaves `otherwise`.
inline bool switched_on(const char* name, bool otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || value[0] == '\0' ? otherwise : value[0] != '0';
}

#if !ATLAS_CUDA_EMULATE
/// The stream of `device`, on which everything runs; makes the device current.
cudaStream_t stream(Device device);
/// The device that stream() was asked for last, by any thread; -1 before the first.
int last_device();
/// Raises `[op] CUDA: text` unless `status` is success. In debug builds check_launch() also waits for the kernel.
void check_status(cudaError_t status, const char* op);
void check_launch(Device device, const char* op);
/// The host waits for a stream, or for an event, and does what while_waiting() wants done meanwhile.
void wait_for(cudaStream_t stream, const char* op);
void wait_for(cudaEvent_t event, const char* op);
#endif

/// Scratch of at least `count` elements of T on the device, 256-byte aligned, uninitialized; valid until the next
/// kernel function asks for the same slot (0..7) on this device. Later work on the stream may reuse it at once.
void* workspace_bytes(Device device, int64_t bytes, int slot);
template <class T>
T* workspace(Device device, int64_t count, int slot = 0) {
  return static_cast<T*>(workspace_bytes(device, count * static_cast<int64_t>(sizeof(T)), slot));
}

/// Where and how large a kernel runs.
struct Launch {
  Device device;
  const char* op;  ///< for messages
  dim3 grid, block;
  size_t shared = 0;   ///< bytes of dynamic shared memory, shared_memory<T>() in the kernel
  bool alone = false;  ///< threads neither meet at barriers nor shuffle nor share memory: emulation is fast then
};

/// Runs kernel(args...) on the device's stream. Grids with no block do nothing. @throws Error naming the op, with
/// CUDA's text.
template <class... Parameters, class... Arguments>
void launch(const Launch& l, void (*kernel)(Parameters...), Arguments... arguments) {
  if (l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0) return;
#if ATLAS_CUDA_EMULATE
  const auto run = [=] {
    emulate::run(l.op, l.grid, l.block, l.shared, l.alone, [&] { kernel(Parameters(arguments)...); });
  };
  if (emulate::recording()) return emulate::record(run);
  run();
#else
  const cudaStream_t on = stream(l.device);
  // A kernel has 48 KiB without asking, together with what it declares itself (16 KiB at most).
  if (l.shared > 32 * 1024)
    check_status(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(l.shared)),
                 l.op);
  kernel<<<l.grid, l.block, l.shared, on>>>(Parameters(arguments)...);
  check_launch(l.device, l.op);
#endif
}

/// The block's dynamic shared memory, 16-byte aligned (1024 under a swizzle that needs it: align by hand).
template <class T>
__device__ T* shared_memory() {
#if ATLAS_CUDA_EMULATE
  return static_cast<T*>(emulate::dynamic_shared());
#else
  extern __shared__ __align__(1024) unsigned char atlas_dynamic_shared[];
  return reinterpret_cast<T*>(atlas_dynamic_shared);
#endif
}

/// Elements of global memory that a kernel may touch: a pointer that knows its length where bounds are checked.
template <class T>
struct View {
  T* p = nullptr;
#if ATLAS_CUDA_BOUNDS
  int64_t n = 0;
#endif
  View() = default;
  __host__ __device__ View(T* pointer, [[maybe_unused]] int64_t count) : p(pointer) {
#if ATLAS_CUDA_BOUNDS
    n = count;
#endif
  }
  __host__ __device__ explicit operator bool() const { return p != nullptr; }
  __device__ T& operator[](int64_t i) const {
    check_range(i, 1);
    return p[i];
  }
  /// Pointer to `count` elements from i on, for wide loads and asynchronous copies.
  __device__ T* at(int64_t i, int64_t count) const {
    check_range(i, count);
    return p + i;
  }

 private:
  __device__ void check_range([[maybe_unused]] int64_t i, [[maybe_unused]] int64_t count) const {
#if ATLAS_CUDA_EMULATE
    if (i < 0 || i + count > n) emulate::out_of_bounds(i, count, n);
#elif ATLAS_CUDA_BOUNDS
    if (i < 0 || i + count > n) {
      printf("atlas: element %lld (%lld of them) is outside a view of %lld\n", (long long)i, (long long)count,
             (long long)n);
      __trap();
    }
#endif
  }
};

/// All elements of a tensor, from its first to the last that its strides reach. Undefined tensors give a null view.
template <class T>
View<T> view(const Tensor& t) {
  if (!t.defined()) return {};
  int64_t last = t.numel() > 0 ? 1 : 0;
  for (int i = 0; i < t.dim() && last > 0; ++i) last += (t.shape()[i] - 1) * t.strides()[i];
  return {t.data<std::remove_const_t<T>>(), last};
}

/// What T is computed in: double for double, float for everything narrower.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;
template <class T>
__host__ __device__ Compute<T> load(const T& x) {
  return static_cast<Compute<T>>(x);
}
template <class T>
__host__ __device__ T store(Compute<T> x) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, bf16>) {  // one instruction, which rounds as the constructor does
    T y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
  } else
#endif
    return static_cast<T>(x);
}

/// Calls f(T{}) for the float types that CUDA computes with: float32, float64 and bfloat16.
template <class F>
decltype(auto) visit_cuda_float(const Tensor& x, std::string_view op, F&& f) {
  if (x.dtype() == DType::float32) return f(float{});
  if (x.dtype() == DType::bfloat16) return f(bf16{});
  if (x.dtype() == DType::float64) return f(double{});
  fail(op, "needs float32, bfloat16 or float64, got {} (convert with .to(atlas::float32))", describe(x));
}

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

/// Blocks of `threads` that cover n elements, one each, but no more than keep every multiprocessor busy: kernels go on
/// with a stride of the whole grid.
inline dim3 blocks_for(int64_t n, int threads) {
  return dim3(static_cast<unsigned>(std::min<int64_t>((n + threads - 1) / threads, 132 * 16)));
}

/// Index of this thread in a one-dimensional grid, and the number of its threads.
__device__ inline int64_t global_thread() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t global_threads() { return int64_t{gridDim.x} * blockDim.x; }

template <class T>
__device__ T warp_sum(T v) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) v += __shfl_xor_sync(kAllLanes, v, lanes);
  return v;
}
template <class T>
__device__ T warp_max(T v) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, v, lanes);
    v = other > v ? other : v;
  }
  return v;
}
/// The sum over all threads of a one-dimensional block (a multiple of 32 threads), in every thread, in a fixed order.
template <class T>
__device__ T block_sum(T v) {
  __shared__ T sums[kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  v = warp_sum(v);
  __syncthreads();  // a former call's sums have been read
  if (lane == 0) sums[warp] = v;
  __syncthreads();
  return warp_sum(lane < warps ? sums[lane] : T(0));
}

/// Division of numbers below 2^31 by a constant that only the host knows, as a multiplication.
struct Divisor {
  uint32_t d = 1, factor = 0, shift = 0;
  Divisor() = default;
  explicit Divisor(uint32_t divisor) : d(divisor) {
    while (shift < 31 && (uint32_t{1} << shift) < d) ++shift;
    factor = static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - d)) / d + 1);
  }
  __device__ uint32_t operator()(uint32_t n) const { return (__umulhi(n, factor) + n) >> shift; }
};

}  // namespace atlas::inline ATLAS_ABI::cuda
