// Convolution on the tensor cores of Hopper (compute capability 9.0a), bfloat16: the implicit GEMM of conv_mma.cu with
// wgmma, fed by the TMA. Forward with stride 1, and the input gradient.
//
// ATLAS_CUDA_WGMMA=0 in the environment turns it off. Everything else, and every other device, takes conv_mma.cu. The
// emulator does not see this file; what is arithmetic in it stands in conv_hopper.cuh and hopper.cuh, and is tested
// there.
//
// A block has a box of up to 256 pixels (choose_box()) x kColumns channels. The sum runs over (tap, slice of 64
// channels). For one of these chunks the pixels are the same box shifted by the tap: one copy by the TMA, whose zeros
// outside the tensor are the padding, and the channels behind the last. The filters are one more copy. Both arrive in
// the layout that wgmma reads (hopper.cuh), pixel r of the box as row r; rows that the box leaves over hold anything,
// and are not stored.
//
// One thread of the last four warps starts the copies, four chunks ahead at most; two groups of four warps multiply,
// 128 rows each, as two products of 64 rows: a thread has 2 kColumns / 2 sums. A group keeps the products of one chunk
// in flight while it issues the next: when those of chunk c - 1 are done, each of its warps gives that stage back.
//
// What it can reach on an H100 (4096 FLOP a clock and multiprocessor, 990 TFLOP/s), for 256 x 192: a chunk is 1536
// clocks of tensor core. Shared memory: each of the 16 products reads 64 x 16 and 192 x 16 elements, 8 KiB, and the
// copies write 56 KiB, together 184 KiB or 1472 clocks at 128 bytes: just hidden. L2: 56 KiB a chunk are 37 bytes a
// clock and multiprocessor where about 25 to 30 are to be had, a limit of 650 to 750 TFLOP/s. With a tenth lost to the
// block's beginning and end (nothing overlaps these: one block fills the multiprocessor) and power: 500 to 600 TFLOP/s
// predicted for 192 and 384 channels. 256 x 128 needs 48 bytes a clock: 400 to 500. Pairs of blocks that share the
// filters' copies (clusters, multicast) would come next.
#include <cuda.h>
#include <cudaTypedefs.h>

#include <atomic>

#include "atlas/cuda/conv_hopper.cuh"
#include "atlas/cuda/device.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

inline constexpr int kStages = 4, kGroup = 128, kConsumers = 2 * kGroup, kThreads = kConsumers + kGroup;

/// y[target of pixel, j] = finish(sum over (tap, channel) of x w) for box and tile of each block.
template <int kColumns>
__global__ void __launch_bounds__(kThreads, 1)
    conv_hopper_kernel([[maybe_unused]] const __grid_constant__ CUtensorMap pixels,
                       [[maybe_unused]] const __grid_constant__ CUtensorMap filters,
                       [[maybe_unused]] const View<bf16> y, [[maybe_unused]] const Epilogue<bf16> finish,
                       [[maybe_unused]] const BoxedGather p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // nothing on others: usable() asks
  constexpr int kGroupRows = kBoxPixels / 2, kStride = kColumns + 8, kPieces = kColumns / 8;
  __shared__ uint64_t full[kStages], empty[kStages];
  unsigned char* ring = shared_memory<unsigned char>();
  ring += (kSwizzleBytes - shared_address(ring) % kSwizzleBytes) % kSwizzleBytes;
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kWarp;
  const BoxedGather::Corner corner = p.corner(blockIdx.x);

  if (tid == 0) {
    for (int s = 0; s < kStages; ++s) {
      barrier_init(&full[s], 1);                    // the thread that starts the copies; their bytes
      barrier_init(&empty[s], kConsumers / kWarp);  // the warps that multiply
    }
    barrier_init_fence();
  }
  __syncthreads();

  if (tid >= kConsumers) {
    registers_shrink<24>();
    if (tid > kConsumers) return;
    tma_prefetch(&pixels);
    tma_prefetch(&filters);
    Ring<kStages> at;
    for (int tap = 0; tap < p.g.h.taps * p.g.w.taps; ++tap) {
      const int h = source_position(p.g.h, corner.h, tap / p.g.w.taps);
      const int w = source_position(p.g.w, corner.w, tap % p.g.w.taps);
      for (int slice = 0; slice < p.slices(); ++slice, at.advance()) {
        unsigned char* const stage = ring + at.stage * stage_size(kColumns);
        uint64_t* const done = &full[at.stage];
        barrier_wait(&empty[at.stage], at.empty_parity());
        barrier_arrive_expect(done, p.stage_bytes());
        tma_load(stage, &pixels, done, slice * kSlice, w, h, corner.image);
        tma_load(stage + kPixelBytes, &filters, done, slice * kSlice, tap, corner.column);
      }
    }
    return;
  }

  registers_grow<240>();
  const int group = tid / kGroup, thread = tid % kGroup;
  const int chunks = p.g.h.taps * p.g.w.taps * p.slices();
  float sums[2][kColumns / 2] = {};
  Ring<kStages> at;
  int former = 0;
#pragma unroll 1
  for (int c = 0; c < chunks; ++c) {
    const uint32_t stage = shared_address(ring) + static_cast<uint32_t>(at.stage) * stage_size(kColumns);
    const uint64_t a = operand_descriptor(stage + static_cast<uint32_t>(group * kGroupRows) * kRowBytes);
    const uint64_t b = operand_descriptor(stage + kPixelBytes);
    barrier_wait(&full[at.stage], at.full_parity());
    wgmma_fence();
#pragma unroll
    for (uint32_t k = 0; k < kRowBytes; k += 32)
#pragma unroll
      for (uint32_t m = 0; m < 2; ++m)
        wgmma<kColumns>(sums[m], a + descriptor_step(m * 64 * kRowBytes + k), b + descriptor_step(k));
    wgmma_commit();
    wgmma_wait<1>();  // those of the former chunk
    if (c > 0 && lane == 0) barrier_arrive(&empty[former]);
    former = at.stage;
    at.advance();
  }
  wgmma_wait<0>();
  wgmma_results(sums[0]);
  wgmma_results(sums[1]);

  // Through shared memory, so that whole rows of channels are written: each warp its own 2 x 16 rows, over the ring
  // when both groups have read it.
  named_barrier<1, kConsumers>();
  bf16* const result = reinterpret_cast<bf16*>(ring);
  const int row0 = group * kGroupRows;
#pragma unroll
  for (int i = 0; i < kColumns / 2; i += 4) {
    const int column = wgmma_column(thread, i);
    const bool inside = finish.bias && corner.column + column < p.n;
    const float bias0 = inside ? load(finish.bias[corner.column + column]) : 0.0f;
    const float bias1 = inside ? load(finish.bias[corner.column + column + 1]) : 0.0f;
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int half = 0; half < 4; half += 2) {
        float first = sums[m][i + half] + bias0, second = sums[m][i + half + 1] + bias1;
        if (finish.activation != Activation::none) {
          first = activate(finish.activation, first);
          second = activate(finish.activation, second);
        }
        const int row = row0 + m * 64 + wgmma_row(thread, i + half);
        *reinterpret_cast<uint32_t*>(result + row * kStride + column) = pack_bf16(first, second);
      }
  }
  __syncwarp();
#pragma unroll 1
  for (int i = lane; i < 2 * 16 * kPieces; i += kWarp) {
    const int line = i / kPieces, column = i % kPieces * 8, j = corner.column + column;
    const int row = row0 + line / 16 * 64 + thread / kWarp * 16 + line % 16;
    const int64_t pixel = p.target(corner, row);
    if (pixel < 0 || j >= p.n) continue;
    const int64_t to = pixel * p.n + j;
    alignas(16) bf16 piece[8];
    *reinterpret_cast<int4*>(piece) = *reinterpret_cast<const int4*>(result + row * kStride + column);
    if (finish.residual) {
      alignas(16) bf16 other[8];
      *reinterpret_cast<int4*>(other) = *reinterpret_cast<const int4*>(finish.residual.at(to, 8));
#pragma unroll
      for (int u = 0; u < 8; ++u) piece[u] = store<bf16>(load(piece[u]) + load(other[u]));
    }
    *reinterpret_cast<int4*>(y.at(to, 8)) = *reinterpret_cast<const int4*>(piece);
  }
#endif
}

/// The driver's function that describes a tensor to the TMA, asked for by name: libcuda is not linked.
PFN_cuTensorMapEncodeTiled_v12000 encode_function() {
  static const auto found = [] {
    void* f = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
    const cudaError_t status =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000, cudaEnableDefault, &result);
#else
    const cudaError_t status = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &f, cudaEnableDefault, &result);
#endif
    check_status(status, "conv2d");
    check(result == cudaDriverEntryPointSuccess, "conv2d", "the NVIDIA driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(f);
  }();
  return found;
}

CUtensorMap tensor_map(const bf16* p, const TensorBox& t) {
  uint64_t strides[3] = {};  // in bytes, of the axes behind the first
  const uint32_t steps[4] = {1, 1, 1, 1};
  for (uint64_t axis = 0, step = sizeof(bf16); axis < 3; ++axis) strides[axis] = step *= t.size[axis];
  CUtensorMap map;
  const CUresult result =
      encode_function()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<uint32_t>(t.rank), const_cast<bf16*>(p),
                        t.size, strides, t.box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(result == CUDA_SUCCESS, "conv2d", "cuTensorMapEncodeTiled refuses a tensor of {} axes (error {})", t.rank,
        static_cast<int>(result));
  return map;
}

bool wanted() {
  static const bool on = switched_on("ATLAS_CUDA_WGMMA", true);
  return on;
}

/// Whether the device can, and this file was compiled for it.
bool usable(Device device) {
  enum : int { unknown, no, yes };
  static std::atomic<int> known[kMaxDevices];
  std::atomic<int>& answer = known[device.index];
  if (answer.load() == unknown) {
    int major = 0, minor = 0;
    check_status(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device.index), "conv2d");
    check_status(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device.index), "conv2d");
    cudaFuncAttributes kernel{};
    stream(device);
    check_status(cudaFuncGetAttributes(&kernel, reinterpret_cast<const void*>(&conv_hopper_kernel<192>)), "conv2d");
    // An empty kernel, for other architectures, has a few registers.
    answer = major == 9 && minor == 0 && kernel.numRegs > 64 ? yes : no;
  }
  return answer.load() == yes;
}

template <int kColumns>
void run(Device device, const View<const bf16>& x, const View<const bf16>& w, const View<bf16>& y,
         const Epilogue<bf16>& finish, const BoxedGather& p) {
  constexpr size_t kShared = kStages * stage_size(kColumns) + kSwizzleBytes;
  static_assert(kBoxPixels * (kColumns + 8) * sizeof(bf16) <= kShared - kSwizzleBytes);
  stream(device);  // makes the device current, for the driver's function
  launch({device, "conv2d", dim3(static_cast<unsigned>(p.blocks())), dim3(kThreads), kShared},
         conv_hopper_kernel<kColumns>, tensor_map(x.p, p.pixels()), tensor_map(w.p, p.filters()), y, finish, p);
}

}  // namespace

bool conv_hopper(Device device, const View<const bf16>& x, const View<const bf16>& w, const View<bf16>& y,
                 const Epilogue<bf16>& finish, const Gather& g, int n) {
  if (!wanted() || !usable(device)) return false;
  const std::optional<BoxedGather> p = boxed_gather(g, n);
  if (!p) return false;
  p->width == 128 ? run<128>(device, x, w, y, finish, *p) : run<192>(device, x, w, y, finish, *p);
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
