// Tensor cores and asynchronous copies, one function per instruction (PTX ISA, "Matrix fragments for mma.m16n8k16",
// "ldmatrix", "cp.async"). Under emulation the same functions do what the documents say lane by lane, so the kernels
// that use them run in tests: fragments pass between the lanes of a warp, and the bytes of an asynchronous copy arrive
// at the wait and not before.
#pragma once

#include "atlas/cuda/launch.cuh"

#if ATLAS_CUDA_EMULATE
#include <deque>
#include <vector>
#endif

namespace atlas::inline ATLAS_ABI::cuda {

#if ATLAS_CUDA_EMULATE

namespace emulated {

/// Copies that a thread has asked for and not waited for.
struct PendingCopies {
  struct Copy {
    void* to;
    const void* from;  // null: zeros
    size_t bytes;
  };
  std::vector<Copy> open;                // not committed yet
  std::deque<std::vector<Copy>> groups;  // committed
  uint3 block{};
};
inline PendingCopies& pending_copies() {
  static PendingCopies all[1024];
  return all[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)];
}

inline void begin_copy(void* to, const void* from, size_t bytes, bool valid) {
  PendingCopies& mine = pending_copies();
  const bool same = mine.block.x == blockIdx.x && mine.block.y == blockIdx.y && mine.block.z == blockIdx.z;
  const auto any = [](const auto& copies) { return !copies.empty(); };
  if (!same && (any(mine.open) || std::any_of(mine.groups.begin(), mine.groups.end(), any)))
    emulate::fail_thread("an earlier block did not wait for its asynchronous copies");
  mine.block = blockIdx;
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0 || reinterpret_cast<uintptr_t>(from) % bytes != 0)
    emulate::fail_thread("the addresses of an asynchronous copy are not aligned to its size");
  std::memset(to, 0xff, bytes);  // nothing that one may read until the copy is there
  mine.open.push_back({to, valid ? from : nullptr, bytes});
}
inline void finish_groups(size_t remaining) {
  PendingCopies& mine = pending_copies();
  for (; mine.groups.size() > remaining; mine.groups.pop_front())
    for (const auto& c : mine.groups.front()) {
      if (c.from != nullptr)
        std::memcpy(c.to, c.from, c.bytes);
      else
        std::memset(c.to, 0, c.bytes);
    }
}

inline float low(uint32_t pair) { return std::bit_cast<float>(pair << 16); }
inline float high(uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); }

template <int kCount, bool kTranspose>
void ldmatrix(uint32_t (&r)[kCount], const bf16* row) {
  const int lane = emulate::lane();
  if (lane < kCount * 8 && reinterpret_cast<uintptr_t>(row) % 16 != 0)
    emulate::fail_thread("a row of ldmatrix is not aligned to 16 bytes");
  const bf16* rows[32];
  emulate::warp_exchange(&row, sizeof row, rows);
  for (int i = 0; i < kCount; ++i)
    for (int half = 0; half < 2; ++half) {
      const int major = lane / 4, minor = lane % 4 * 2 + half;
      const uint32_t bits = kTranspose ? rows[i * 8 + minor][major].bits : rows[i * 8 + major][minor].bits;
      r[i] = half == 0 ? bits : r[i] | bits << 16;
    }
}

}  // namespace emulated

#else

__device__ inline uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

#endif

/// Two floats as bfloat16, `low` in the lower half.
__device__ inline uint32_t pack_bf16(float low, float high) {
#if ATLAS_CUDA_EMULATE
  return bf16(low).bits | static_cast<uint32_t>(bf16(high).bits) << 16;
#else
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#endif
}

/// 2^x by the special function unit: 2 ulp, 0 for -infinity.
__device__ inline float fast_exp2(float x) {
#if ATLAS_CUDA_EMULATE
  return std::exp2(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

/// d[16,8] += a[16,16] b[16,8]. With g = lane / 4 and t = lane % 4 a lane holds: of d, rows g and g + 8 at columns 2t,
/// 2t + 1 (d[0..1], d[2..3]); of a, rows g, g + 8, g, g + 8 at columns 2t and, for the last two, 2t + 8; of b, rows 2t
/// and 2t + 8 of column g. Pairs run along the sum.
__device__ inline void mma_bf16_16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if ATLAS_CUDA_EMULATE
  struct Held {
    uint32_t a[4], b[2];
  };
  const Held mine{{a[0], a[1], a[2], a[3]}, {b0, b1}};
  Held all[32];
  emulate::warp_exchange(&mine, sizeof mine, all);
  const int g = emulate::lane() / 4, t = emulate::lane() % 4;
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + i % 2, half = i / 2;  // half: row g or g + 8
    float sum = 0;
    for (int k = 0; k < 8; ++k) {  // pairs along the sum
      const uint32_t left = all[g * 4 + k % 4].a[half + k / 4 * 2], right = all[column * 4 + k % 4].b[k / 4];
      sum += emulated::low(left) * emulated::low(right) + emulated::high(left) * emulated::high(right);
    }
    d[i] += sum;
  }
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

/// A number of float32 rounded to TF32, halves away from zero.
__device__ inline uint32_t tf32_bits(uint32_t x) { return (x + 0x1000u) & 0xffffe000u; }

/// d[16,8] += a[16,8] b[8,8] in TF32. With g = lane / 4 and t = lane % 4 a lane holds: of d, what mma_bf16_16816 has;
/// of a, (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); of b, (t, g) and (t + 4, g).
__device__ inline void mma_tf32_1688(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if ATLAS_CUDA_EMULATE
  struct Held {
    uint32_t a[4], b[2];
  };
  const Held mine{{a[0], a[1], a[2], a[3]}, {b0, b1}};
  Held all[32];
  emulate::warp_exchange(&mine, sizeof mine, all);
  const auto number = [](uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); };
  const int g = emulate::lane() / 4, t = emulate::lane() % 4;
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + i % 2, half = i / 2;  // half: row g or g + 8
    float sum = 0;
    for (int k = 0; k < 8; ++k)
      sum += number(all[g * 4 + k % 4].a[half + k / 4 * 2]) * number(all[column * 4 + k % 4].b[k / 4]);
    d[i] += sum;
  }
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

/// N 8 x 8 matrices from shared memory, N = 2 or 4, each as it lies there or transposed. Lane i < 8 N gives the address
/// of row i % 8 of matrix i / 8 (16 bytes, aligned). Each lane gets the elements (lane / 4, 2 (lane % 4)) and the next
/// one of each matrix.
template <bool kTransposed = false, int N>
__device__ void ldmatrix(uint32_t (&r)[N], const bf16* row) {
  static_assert(N == 2 || N == 4);
#if ATLAS_CUDA_EMULATE
  emulated::ldmatrix<N, kTransposed>(r, row);
#else
#define ATLAS_LDMATRIX(shape, registers, ...)                                   \
  asm volatile("ldmatrix.sync.aligned.m8n8." shape ".shared.b16 " registers ";" \
               : __VA_ARGS__                                                    \
               : "r"(shared_address(row))                                       \
               : "memory")
  if constexpr (N == 4 && !kTransposed)
    ATLAS_LDMATRIX("x4", "{%0,%1,%2,%3}, [%4]", "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]));
  if constexpr (N == 4 && kTransposed)
    ATLAS_LDMATRIX("x4.trans", "{%0,%1,%2,%3}, [%4]", "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]));
  if constexpr (N == 2 && !kTransposed) ATLAS_LDMATRIX("x2", "{%0,%1}, [%2]", "=r"(r[0]), "=r"(r[1]));
  if constexpr (N == 2 && kTransposed) ATLAS_LDMATRIX("x2.trans", "{%0,%1}, [%2]", "=r"(r[0]), "=r"(r[1]));
#undef ATLAS_LDMATRIX
#endif
}

/// `from`, which has to lie in the view when it is going to be read.
template <class T>
__device__ const T* checked_copy([[maybe_unused]] const View<const T>& v, const T* from, [[maybe_unused]] int count,
                                 [[maybe_unused]] bool valid) {
#if ATLAS_CUDA_BOUNDS
  return valid ? v.at(from - v.p, count) : v.p;
#else
  return from;
#endif
}

/// Starts a copy of 16 bytes into shared memory past the registers; zeros when not `valid`, and `global` is not read
/// then.
__device__ inline void cp_async_16(void* shared, const void* global, bool valid) {
#if ATLAS_CUDA_EMULATE
  emulated::begin_copy(shared, global, 16, valid);
#else
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
#endif
}
/// The same for 8 bytes.
__device__ inline void cp_async_8(void* shared, const void* global, bool valid) {
#if ATLAS_CUDA_EMULATE
  emulated::begin_copy(shared, global, 8, valid);
#else
  asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 8, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 8 : 0)
               : "memory");
#endif
}
/// Closes the group of this thread's copies since the last one.
__device__ inline void cp_async_commit() {
#if ATLAS_CUDA_EMULATE
  emulated::PendingCopies& mine = emulated::pending_copies();
  mine.groups.push_back(std::move(mine.open));
  mine.open.clear();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Waits until all but the last kPending groups of this thread have arrived. A barrier makes those of others visible.
template <int kPending>
__device__ inline void cp_async_wait() {
#if ATLAS_CUDA_EMULATE
  emulated::finish_groups(kPending);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

}  // namespace atlas::inline ATLAS_ABI::cuda
