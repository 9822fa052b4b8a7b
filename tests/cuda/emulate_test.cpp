// The emulator itself: threads meet where CUDA says they do, and what kernels do wrong is an error with a place.
#include <doctest/doctest.h>

#include <vector>

#include "atlas/core/rng.h"
#include "atlas/cuda/launch.cuh"
#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/random_input.h"

using namespace atlas;
using test::error_of;

namespace {

const Device kDevice{DeviceType::cuda, 0};

template <class Kernel, class... Arguments>
std::string run(dim3 grid, dim3 block, size_t shared, Kernel kernel, Arguments... arguments) {
  return error_of([&] { cuda::launch({kDevice, "test", grid, block, shared}, kernel, arguments...); });
}

__global__ void reverse_block(cuda::View<const float> x, cuda::View<float> y, bool barrier) {
  float* tile = cuda::shared_memory<float>();
  tile[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
  if (barrier) __syncthreads();
  y[blockIdx.x * blockDim.x + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}
__global__ void lanes_kernel(cuda::View<int64_t> y) {
  const int lane = threadIdx.x % 32;
  const int up = __shfl_up_sync(0xffffffffu, lane, 3), down = __shfl_down_sync(0xffffffffu, lane, 2, 8);
  const int across = __shfl_xor_sync(0xffffffffu, lane, 5), first = __shfl_sync(0xffffffffu, lane, 9, 16);
  const unsigned odd = __ballot_sync(0xffffffffu, lane & 1);
  int half = 0;
  if (lane < 16) half = __reduce_add_sync(0xffffu, lane);
  __syncwarp();
  y[threadIdx.x] = up + 100 * down + 10000 * across + 1000000 * first + (odd == 0xaaaaaaaau ? 100000000 : 0) +
                   int64_t{1000000000} * half;
}
__global__ void sum_kernel(cuda::View<const float> x, cuda::View<float> y) {
  const float total = cuda::block_sum(x[threadIdx.x]) + cuda::block_sum(1.0f);
  const int odd = __syncthreads_count(threadIdx.x % 2);
  if (threadIdx.x == 0) y[0] = total + 1000.0f * static_cast<float>(odd);
}
__global__ void early_return() {
  if (threadIdx.x == 5) return;
  __syncthreads();
}
__global__ void two_barriers() {
  if (threadIdx.x < 4)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void missing_lane() {
  if (threadIdx.x != 7) __shfl_sync(0xffffffffu, 1, 0);
}
__global__ void strange_source() {
  if (threadIdx.x < 16) __shfl_sync(0xffffu, 1, 20);
}
__global__ void meets() { __syncthreads(); }
__global__ void outside(cuda::View<float> y) { y[threadIdx.x] = 0; }
__global__ void behind_shared() { cuda::shared_memory<char>()[blockDim.x] = 1; }
__global__ void behind_block(float* p) { p[10] = 1; }
__global__ void one_element(cuda::View<float> y, float v) { y[0] = v; }

}  // namespace

TEST_CASE("threads of a block meet at barriers, lanes of a warp at shuffles and votes") {
  const Tensor x = randn({2 * 96}, float32, default_generator(), kDevice), y = empty({2 * 96}, float32, kDevice);
  for (int twice = 0; twice < 2; ++twice) {  // forwards and backwards
    CHECK(run(2, 96, 96 * sizeof(float), reverse_block, cuda::view<const float>(x), cuda::view<float>(y), true) == "");
    const auto from = to_vector<float>(x), to = to_vector<float>(y);
    for (size_t b = 0; b < 2; ++b)
      for (size_t i = 0; i < 96; ++i) CHECK_UNARY(to[b * 96 + i] == from[b * 96 + 95 - i]);
  }
  const Tensor z = empty({64}, int64, kDevice);
  CHECK(run(1, 64, 0, lanes_kernel, cuda::view<int64_t>(z)) == "");
  const auto got = to_vector<int64_t>(z);
  for (int i = 0; i < 64; ++i) {
    const int lane = i % 32;
    const int64_t want = (lane < 3 ? lane : lane - 3) + 100 * (lane % 8 < 6 ? lane + 2 : lane) + 10000 * (lane ^ 5) +
                         1000000 * (lane / 16 * 16 + 9) + 100000000 + (lane < 16 ? int64_t{120} * 1000000000 : 0);
    CHECK_UNARY(got[static_cast<size_t>(i)] == want);
  }
  CHECK(run(1, 96, 0, sum_kernel, cuda::view<const float>(ones({96}, float32, kDevice)), cuda::view<float>(y)) == "");
  CHECK(to_vector<float>(y)[0] == 96 + 96 + 48000);
}

TEST_CASE("a missing barrier shows: shared memory begins as NaN, and threads run in both orders") {
  const Tensor x = ones({32}, float32, kDevice), y = empty({32}, float32, kDevice);
  for (int twice = 0; twice < 2; ++twice) {
    run(1, 32, 32 * sizeof(float), reverse_block, cuda::view<const float>(x), cuda::view<float>(y), false);
    const auto got = to_vector<float>(y);
    CHECK(std::any_of(got.begin(), got.end(), [](float v) { return std::isnan(v); }));
  }
}

TEST_CASE("threads that do not meet are an error with a place") {
  CHECK(run(1, 32, 0, early_return).find("[test] block (0,0,0): thread (0,0,0) waits at __syncthreads") == 0);
  CHECK(run(1, 32, 0, early_return).find("which thread (5,0,0) never reaches: it has returned") != std::string::npos);
  CHECK(run(1, 32, 0, two_barriers).find("which thread (4,0,0) never reaches: it waits at __syncthreads") !=
        std::string::npos);
  CHECK(run(1, 32, 0, missing_lane).find("for lane 7 (mask 0xffffffff), which has returned") != std::string::npos);
  CHECK(run(1, 16, 0, missing_lane).find("for lane 7") != std::string::npos);
  CHECK(run(1, 32, 0, strange_source).find("a shuffle reads a lane that is not in its mask") != std::string::npos);
  const std::string alone = error_of([] { cuda::launch({kDevice, "test", 1, 2, 0, true}, meets); });
  CHECK(alone == "[test] the kernel was launched as `alone`, but its threads meet at __syncthreads");
  CHECK(run(1, 32, 0, meets) == "");  // the next launch is not disturbed
}

TEST_CASE("accesses outside memory are errors") {
  const Tensor y = empty({10}, float32, kDevice);
  CHECK(run(1, 11, 0, outside, cuda::view<float>(y)) ==
        "[test] block (0,0,0), thread (10,0,0): element 10 of a view of 10");
  CHECK(run(1, 32, 0, meets) == "");
#ifndef ATLAS_ASAN  // which ends the program
  CHECK(run(1, 3, 3, behind_shared) == "[test] block (0,0,0) wrote behind its 3 bytes of dynamic shared memory");
#endif
  {
    const Tensor narrow = empty({10}, float32, kDevice);
    CHECK(run(1, 1, 0, behind_block, narrow.data<float>()) == "");
  }
  CHECK_THROWS_WITH_AS(cuda::synchronize(kDevice), doctest::Contains("behind a block of 40 bytes of device memory"),
                       Error);
  CHECK_THROWS_WITH_AS(cuda::copy_bytes(y.raw(), kDevice, y.raw(), kDevice, 44), doctest::Contains("is not 44 bytes"),
                       Error);
}

TEST_CASE("new device memory holds NaNs, whatever was there before") {
  const std::vector<float> first = to_vector<float>(empty({100}, float32, kDevice));
  CHECK(std::isnan(first[99]));
  { const Tensor t = ones({100}, float32, kDevice); }
  CHECK(std::isnan(to_vector<float>(empty({100}, float32, kDevice))[0]));
}

TEST_CASE("launches that a GPU refuses") {
  const Tensor y = empty({1}, float32, kDevice);
  CHECK(run(1, 1025, 0, one_element, cuda::view<float>(y), 1.0f) ==
        "[test] a block has 1 to 1024 threads, got (1025,1,1)");
  CHECK(run(dim3(1, 65536), 1, 0, one_element, cuda::view<float>(y), 1.0f) ==
        "[test] the grid (1,65536,1) is too large");
  CHECK(run(1, 1, 300 << 10, one_element, cuda::view<float>(y), 1.0f) ==
        "[test] 307200 bytes of shared memory: a block has 227 KiB");
  CHECK(run(0, 1, 0, one_element, cuda::view<float>(y), 1.0f) == "");
  CHECK(run(1, 1, 0, one_element, cuda::view<float>(y), 2.0f) == "");
  CHECK(y.item() == 2);
}
