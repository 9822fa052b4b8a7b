// Tensors on a CUDA device: copies, reading elements, printing, memory, the same numbers as on the CPU, and mistakes.
// On a machine without a device these tests do nothing; the emulated device runs them everywhere.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "atlas/core/rng.h"
#include "atlas/kernels/binary.h"
#include "atlas/kernels/functors.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/join.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/print.h"
#include "tests/ops/random_input.h"

using namespace atlas;
using test::error_of;
using test::same_bits;

namespace {

const Device kCuda{DeviceType::cuda, 0};
const DType kAll[] = {float32, float64, bfloat16, float16, int64, uint8, boolean};

/// The values of t in a fresh tensor on `device`.
Tensor on(Device device, const Tensor& t) {
  Tensor y = empty(t.shape(), t.dtype(), device);
  copy_elements(y, t);
  return y;
}

}  // namespace

TEST_CASE("copies between host and device, all dtypes and layouts" * doctest::skip(cuda::device_count() == 0)) {
  const Tensor x = from_vector<float>({0, 1, 2.5f, 3, 0, 255, 7, 100, 1, 0, 3, 12}, {3, 4}, Device{});
  for (const DType a : kAll) {
    const Tensor host = x.to(a), there = on(kCuda, host);
    CHECK(there.device() == kCuda);
    CHECK(same_bits(there, host));
    for (const DType b : kAll) {
      CAPTURE(name(a));
      CAPTURE(name(b));
      const Tensor want = host.to(b);
      CHECK(same_bits(there.to(b), want));  // on the device
      Tensor direct = empty({3, 4}, b, kCuda);
      copy_elements(direct, host);  // on the way there
      CHECK(same_bits(direct, want));
      Tensor back = empty({3, 4}, b, Device{});
      copy_elements(back, there);  // on the way back
      CHECK(same_bits(back, want));
      Tensor wide = zeros({4, 5}, b, kCuda);  // strided on both sides, and broadcast
      Tensor part = raw_view(wide, {4, 3}, {5, 1}, 1);
      copy_elements(part, there.transpose(0, 1));
      CHECK(same_bits(part, want.transpose(0, 1)));
      copy_elements(part, host.select(1, 1));
      CHECK(same_bits(part.select(0, 3), want.select(1, 1)));
      CHECK(wide[0][0].item() == 0);
      CHECK(wide[3][4].item() == 0);
    }
  }
}

TEST_CASE("elements, printing and vectors" * doctest::skip(cuda::device_count() == 0)) {
  const Tensor x = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3}, kCuda);
  CHECK(x[1][2].item() == 6);
  CHECK(x.transpose(0, 1)[2][0].item<int64_t>() == 3);
  CHECK(to_vector<float>(x.transpose(0, 1)) == std::vector<float>{1, 4, 2, 5, 3, 6});
  CHECK(to_string(x).find("[[1., 2., 3.],\n [4., 5., 6.]] float32[2,3]") == 0);
  CHECK(error_of([&] {
          x.at<float>({0, 0});
        }) == "[at] the tensor is on cuda:0, where the host cannot read an element (use x.to(Device{}))");
  CHECK(error_of([&] { to_vector<double>(x); }) == "[data] the tensor holds float32, asked for float64");
}

TEST_CASE("the same seed gives the same numbers and masks on both devices" * doctest::skip(cuda::device_count() == 0)) {
  const auto both = [](auto make) {
    Generator a{5, 2}, b{5, 2};
    CHECK(same_bits(make(a, Device{}), make(b, kCuda)));
    CHECK(a.stream == b.stream);
  };
  both([](Generator& g, Device d) { return rand({100}, float32, g, d); });
  both([](Generator& g, Device d) { return randn({100}, float64, g, d); });
  both([](Generator& g, Device d) { return trunc_normal({100}, 0.02, -1, 1, float32, g, d); });
  both([](Generator&, Device d) { return arange(-3, 20, 4, bfloat16, d); });
  both([](Generator&, Device d) { return linspace(0, 1, 17, float32, d); });
  both([](Generator&, Device d) { return eye(5, 7, float32, d); });
  for (const Shape& shape : {Shape{1003}, Shape{9, 13}, Shape{0}}) {
    both([&](Generator& g, Device d) { return dropout(ones(shape, float32, d), 0.3, true, g); });
    both([&](Generator& g, Device d) { return drop_path(ones(shape, float32, d), 0.5, true, g); });
  }
}

TEST_CASE("operands on different devices, devices that are not there, indices out of range" *
          doctest::skip(cuda::device_count() == 0)) {
  const Tensor host = ones({2}, float32, Device{}), there = ones({2}, float32, kCuda);
  const std::string text = error_of([&] {
    Tensor y = empty_like(there);
    kernels::binary_forward(functors::Add{}, host, there, y);
  });
  CHECK(text.find("[add] operands are on different devices: float32[2]") == 0);
  CHECK(error_of([] { empty({2}, float32, Device{DeviceType::cuda, 9}); }).find("[device] cuda:9 is not there") == 0);
  CHECK(error_of([] { empty({2}, float32, Device{DeviceType::cuda, 99}); }).find("[device] cuda:99") == 0);
  const Tensor table = ones({5, 3}, float32, kCuda), index = from_vector<int64_t>({0, 7}, {2}, kCuda);
  const std::string late = error_of([&] {
    index_select(table, 0, index);
    cuda::synchronize(kCuda);  // at the latest, it is found where the host waits
  });
  CHECK(late.find("index 7 is outside [0, 5)") != std::string::npos);
  CHECK(index_select(table, 0, from_vector<int64_t>({4, 0}, {2}, kCuda)).shape() == Shape{2, 3});
  cuda::synchronize(kCuda);
}

TEST_CASE("device memory is cached and counted" * doctest::skip(cuda::device_count() == 0)) {
  empty_cache(kCuda);
  const MemoryStats before = memory_stats(kCuda);
  void* where = nullptr;
  {
    const Tensor t = empty({250}, float32, kCuda);
    where = t.raw();
    CHECK(reinterpret_cast<uintptr_t>(where) % 256 == 0);
    CHECK(memory_stats(kCuda).current == before.current + 1024);
  }
  CHECK(memory_stats(kCuda).current == before.current);
  CHECK(memory_stats(kCuda).reserved == before.reserved + 1024);
  CHECK(empty({255}, float32, kCuda).raw() == where);
  empty_cache(kCuda);
  CHECK(memory_stats(kCuda).reserved == before.reserved);
  CHECK(error_of([] {
          empty({int64_t{1} << 43}, float32, kCuda);
        }).find("[allocate] out of memory: wanted 32.00 TiB") == 0);
}
