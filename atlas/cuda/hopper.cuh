// What Hopper (compute capability 9.0a) adds to mma.cuh, one function per instruction: boxes of tensors that the TMA
// copies into shared memory, the barriers that count their bytes, and products of four warps that read both operands
// there (PTX ISA: "cp.async.bulk.tensor", "mbarrier", "wgmma"). The instructions have no plain twin for emulation; what
// is arithmetic (the descriptor of an operand, the lanes of a result, the ring's phases) is tried by
// tests/cuda/hopper_test.cpp.
#pragma once

#include "atlas/cuda/mma.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

// ---- Operands in shared memory -------------------------------------------------------------------------------------
// An operand is a list of rows (pixels, or filters) of 64 bfloat16 along the sum: 128 bytes, eight pieces of 16. In
// groups of eight rows, 1024 bytes that begin at a multiple of 1024, piece p of row r lies at p ^ (r % 8): the
// "128-byte swizzle". The TMA writes and wgmma reads it by the address alone, whose bits 4 to 6 are combined with bits
// 7 to 9.
inline constexpr int kSlice = 64;  // bfloat16 in a row
inline constexpr uint32_t kRowBytes = 128, kSwizzleBytes = 1024;

/// The descriptor of an operand at a shared address. Bits 0 to 13: address / 16; 16 to 29: distance of pieces along the
/// sum, which this swizzle does not use (1); 32 to 45: distance of groups of eight rows / 16; 49 to 51: 0, groups begin
/// at multiples of 1024; 62 and 63: 1, the swizzle.
__host__ __device__ constexpr uint64_t operand_descriptor(uint32_t address) {
  return uint64_t{(address & 0x3ffffu) >> 4} | uint64_t{1} << 16 | uint64_t{kSwizzleBytes >> 4} << 32 |
         uint64_t{1} << 62;
}
/// What to add to a descriptor to go on by `bytes`: 32 for the next 16 of a row, whole groups for other rows.
__host__ __device__ constexpr uint64_t descriptor_step(uint32_t bytes) { return bytes >> 4; }

/// Where register i of a result [64][columns] is: thread t of the four warps has pairs of columns of two rows.
__host__ __device__ constexpr int wgmma_row(int t, int i) { return t / kWarp * 16 + t % kWarp / 4 + i % 4 / 2 * 8; }
__host__ __device__ constexpr int wgmma_column(int t, int i) { return i / 4 * 8 + t % 4 * 2 + i % 2; }

// ---- A ring of stages ----------------------------------------------------------------------------------------------
/// The stage whose turn it is, and how often the ring has been gone round, odd or even. The n-th filling of a stage
/// (from 0) ends phase n of its barrier `full`, which one waits for by the parity of n; phase n of its barrier `empty`
/// ends when that filling has been read. Whoever fills waits for phase n - 1: for n = 0 the phase before the first,
/// which a new barrier counts as over.
template <int kStages>
struct Ring {
  int stage = 0;
  uint32_t round = 0;
  __host__ __device__ uint32_t full_parity() const { return round; }
  __host__ __device__ uint32_t empty_parity() const { return round ^ 1; }
  __host__ __device__ void advance() {
    if (++stage < kStages) return;
    stage = 0;
    round ^= 1;
  }
};

#if !ATLAS_CUDA_EMULATE

// ---- Barriers in shared memory that count arrivals and bytes -------------------------------------------------------
__device__ inline void barrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
/// By the thread that made barriers, before others and the TMA use them.
__device__ inline void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ inline void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
/// Arrives, and lets the phase wait for so many bytes, too.
__device__ inline void barrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
/// Waits for the end of the phase of that parity, for ever if need be: a trap here, which all waits of a kernel would
/// share, makes ptxas 13.0 forget what registers_grow() gave, and spill.
__device__ inline void barrier_wait(uint64_t* barrier, uint32_t parity) {
  uint32_t over = 0;
  while (over == 0)
    asm volatile(
        "{\n"
        ".reg .pred over;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
        "selp.u32 %0, 1, 0, over;\n"
        "}"
        : "=r"(over)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
}
/// A barrier of `threads` threads of the block; `id` from 1 on (0 is __syncthreads()).
template <int kId, int kThreads>
__device__ inline void named_barrier() {
  asm volatile("bar.sync %0, %1;" ::"n"(kId), "n"(kThreads) : "memory");
}

// ---- TMA: boxes of tensors, coordinates innermost first. What is outside is zero, and counts as bytes ---------------
__device__ inline void tma_prefetch(const void* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
__device__ inline void tma_load(void* shared, const void* map, uint64_t* barrier, int c0, int c1, int c2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
          "r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}
__device__ inline void tma_load(void* shared, const void* map, uint64_t* barrier, int c0, int c1, int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}

// ---- Products of four warps -----------------------------------------------------------------------------------------
/// Registers of this warp's group of four: more for those who multiply, fewer for those who only start copies.
template <int kRegisters>
__device__ inline void registers_grow() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void registers_shrink() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
/// Before the first product, and after anything else has touched the results' registers.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Closes the group of products since the last one.
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until all but the last kPending groups are done.
template <int kPending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
/// Keeps the compiler from reading results ahead of the wait for them.
template <int kCount>
__device__ inline void wgmma_results(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

#define ATLAS_OPERANDS_0_63                                                          \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define ATLAS_OPERANDS_64_95                                                         \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define ATLAS_RESULTS_8(d, i)                                                                                 \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define ATLAS_RESULTS_32(d, i) \
  ATLAS_RESULTS_8(d, i), ATLAS_RESULTS_8(d, i + 8), ATLAS_RESULTS_8(d, i + 16), ATLAS_RESULTS_8(d, i + 24)

/// d[64,kColumns] += a[64,16] b[16,kColumns], begun and not waited for: by four warps together, from the operands that
/// two descriptors name.
template <int kColumns>
__device__ inline void wgmma(float (&d)[kColumns / 2], uint64_t a, uint64_t b) {
  static_assert(kColumns == 128 || kColumns == 192);
  // The predicate: add to d. The numbers: signs of a and b, both with the sum along their rows.
  if constexpr (kColumns == 128)
    asm volatile(
        "{\n"
        ".reg .pred add;\n"
        "setp.ne.b32 add, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" ATLAS_OPERANDS_0_63
        "}, %64, %65, add, 1, 1, 0, 0;\n"
        "}"
        : ATLAS_RESULTS_32(d, 0), ATLAS_RESULTS_32(d, 32)
        : "l"(a), "l"(b), "r"(1));
  else
    asm volatile(
        "{\n"
        ".reg .pred add;\n"
        "setp.ne.b32 add, %98, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" ATLAS_OPERANDS_0_63 ", " ATLAS_OPERANDS_64_95
        "}, %96, %97, add, 1, 1, 0, 0;\n"
        "}"
        : ATLAS_RESULTS_32(d, 0), ATLAS_RESULTS_32(d, 32), ATLAS_RESULTS_32(d, 64)
        : "l"(a), "l"(b), "r"(1));
}

#undef ATLAS_OPERANDS_0_63
#undef ATLAS_OPERANDS_64_95
#undef ATLAS_RESULTS_8
#undef ATLAS_RESULTS_32

#endif  // !ATLAS_CUDA_EMULATE

}  // namespace atlas::inline ATLAS_ABI::cuda
