// The emulated tensor core instructions against what the PTX ISA documents, and what they refuse.
#include "atlas/cuda/mma.cuh"

#include <doctest/doctest.h>

#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/create.h"
#include "device_tensor.h"

using namespace atlas;
using test::error_of;
using test::from_device;
using test::on_gpu;
using test::random;

namespace {

const Device kDevice{DeviceType::cuda, 0};

/// c[16,8] = a[16,16] bᵀ, b[8,16], by one warp: through ldmatrix, plain or from the transposed matrices.
template <bool kTransposed>
__global__ void one_product(cuda::View<const bf16> a, cuda::View<const bf16> b, cuda::View<float> c) {
  alignas(16) __shared__ bf16 as[16 * 24], bs[16 * 24];
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) {
    if (kTransposed)
      as[i % 16 * 24 + i / 16] = a[i];
    else
      as[i / 16 * 24 + i % 16] = a[i];
  }
  for (int i = lane; i < 128; i += 32) {
    if (kTransposed)
      bs[i % 16 * 24 + i / 16] = b[i];
    else
      bs[i / 16 * 24 + i % 16] = b[i];
  }
  __syncwarp();
  uint32_t left[4], right[2];
  if (kTransposed) {  // lines along the sum
    cuda::ldmatrix<true>(left, as + (lane / 16 * 8 + lane % 8) * 24 + lane / 8 % 2 * 8);
    cuda::ldmatrix<true>(right, bs + lane % 16 * 24);
  } else {
    cuda::ldmatrix(left, as + lane % 16 * 24 + lane / 16 * 8);
    cuda::ldmatrix(right, bs + lane % 8 * 24 + lane / 8 % 2 * 8);
  }
  float sums[4] = {};
  cuda::mma_bf16_16816(sums, left, right[0], right[1]);
  for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

__global__ void element_places(cuda::View<float> held) {
  alignas(16) __shared__ bf16 matrix[64];
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 64; i += 32) matrix[i] = bf16(static_cast<float>(i));
  __syncwarp();
  uint32_t plain[4], turned[4];
  cuda::ldmatrix(plain, matrix + lane % 8 * 8);
  cuda::ldmatrix<true>(turned, matrix + lane % 8 * 8);
  for (int i = 0; i < 2; ++i) {
    held[lane * 4 + i] = std::bit_cast<float>(plain[2] >> 16 * i << 16);
    held[lane * 4 + 2 + i] = std::bit_cast<float>(turned[1] >> 16 * i << 16);
  }
}

/// y = x by asynchronous copies, with or without waiting for them.
__global__ void copies(cuda::View<const bf16> x, cuda::View<bf16> y, int pending, int shift) {
  bf16* const tile = cuda::shared_memory<bf16>() + shift;
  for (int i = 0; i < 2; ++i) {
    cuda::cp_async_16(tile + i * 8, x.p + i * 8, i == 0);
    cuda::cp_async_commit();
  }
  if (pending == 0) cuda::cp_async_wait<0>();
  if (pending == 1) cuda::cp_async_wait<1>();
  for (int i = 0; i < 16; ++i) y[i] = tile[i];
  cuda::cp_async_wait<0>();
}

std::vector<float> copied(int pending) {
  const Tensor x = on_gpu(full({16}, 3), bfloat16), y = on_gpu(full({16}, 0), bfloat16);
  cuda::launch({kDevice, "copies", dim3(1), dim3(1), 64}, copies, cuda::view<const bf16>(x), cuda::view<bf16>(y),
               pending, 0);
  const Tensor there = from_device(y);
  return {there.data<float>(), there.data<float>() + 16};
}

}  // namespace

TEST_CASE("ldmatrix and mma are a matrix product") {
  const Tensor a = test::rounded(random({16, 16}, 1)), b = test::rounded(random({8, 16}, 2));
  Tensor want = empty({16, 8}, float32, Device{});
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      double sum = 0;
      for (int k = 0; k < 16; ++k) sum += a.data<float>()[i * 16 + k] * b.data<float>()[j * 16 + k];
      want.data<float>()[i * 8 + j] = static_cast<float>(sum);
    }
  const Tensor a16 = on_gpu(a, bfloat16), b16 = on_gpu(b, bfloat16);
  for (const auto kernel : {one_product<false>, one_product<true>}) {
    const Tensor c = on_gpu(full({16, 8}, 0));
    cuda::launch({kDevice, "test", dim3(1), dim3(32)}, kernel, cuda::view<const bf16>(a16), cuda::view<const bf16>(b16),
                 cuda::view<float>(c));
    CHECK(test::relative_error(c, want) < 1e-6);
  }
}

TEST_CASE("ldmatrix gives a lane two neighbors of row lane / 4, and of column lane / 4 when transposed") {
  const Tensor held = on_gpu(full({32, 4}, 0));
  cuda::launch({kDevice, "test", dim3(1), dim3(32)}, element_places, cuda::view<float>(held));
  const Tensor there = from_device(held);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 2; ++i) {
      CHECK(there.data<float>()[lane * 4 + i] == lane / 4 * 8 + lane % 4 * 2 + i);
      CHECK(there.data<float>()[lane * 4 + 2 + i] == (lane % 4 * 2 + i) * 8 + lane / 4);
    }
}

TEST_CASE("an asynchronous copy has not arrived before the wait for it") {
  const std::vector<float> all = copied(0), first = copied(1), none = copied(2);
  for (size_t i = 0; i < 16; ++i) {
    CHECK(all[i] == (i < 8 ? 3 : 0));  // the second piece is filled with zeros
    CHECK((i < 8 ? first[i] == 3 : std::isnan(first[i])));
    CHECK(std::isnan(none[i]));
  }
  const Tensor x = on_gpu(full({16}, 3), bfloat16);
  CHECK(error_of([&] {
          cuda::launch({kDevice, "copies", dim3(1), dim3(1), 64}, copies, cuda::view<const bf16>(x),
                       cuda::View<bf16>(x.data<bf16>(), 16), 0, 1);
        }).find("not aligned") != std::string::npos);
}

TEST_CASE("a divisor divides as the operator does") {
  for (const uint32_t d : {1u, 2u, 3u, 7u, 10u, 64u, 1000003u, 0x40000001u, 0x7fffffffu}) {
    const cuda::Divisor by(d);
    for (const uint32_t n : {0u, 1u, d - 1, d, 2 * (d % 0x3fffffffu) + 1, 12345u, 0x7ffffffeu, 0x7fffffffu})
      if (n <= 0x7fffffffu) CHECK(by(n) == n / d);
  }
}
