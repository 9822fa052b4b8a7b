// Sizes beyond reason: what cannot be held is refused before it is asked for. About the memory of the CPU.
// ctest-device: cpu
#include <doctest/doctest.h>

#include <functional>
#include <vector>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/join.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/resize.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "tests/ops/random_input.h"

using namespace atlas;
using namespace test;

namespace {

constexpr int64_t kHuge = int64_t{1} << 62;

}  // namespace

TEST_CASE("absurd: sizes that cannot be are refused at once, with the op's name") {
  const Tensor one = zeros({1, 1, 1, 1}), image = zeros({1, 2, 2, 1}), none = zeros({0, 4, 4, 3});
  const auto refused = [](const char* op, const auto& f) {
    const int64_t before = memory_stats().reserved;
    const std::string text = error_of(f);
    CHECK_MESSAGE(text.starts_with(fmt::format("[{}]", op)), text);
    CHECK(memory_stats().reserved - before < 1 << 20);
  };
  for (const int64_t n : {kHuge, int64_t{1} << 40}) {
    CAPTURE(n);
    for (const Interpolation mode : {Interpolation::nearest, Interpolation::bilinear, Interpolation::bicubic})
      refused("resize", [&] { resize(image, n, n, mode); });
    refused("resize", [&] { resize(image, 1, n, Interpolation::bilinear, true); });
    refused("expand", [&] { expand(one, {n, 1, 1, 1}); });
    refused("expand", [&] { repeat_interleave(one, n, 0); });
  }
  CHECK(resize(none, 1 << 30, 1 << 30, Interpolation::bilinear).shape() == Shape{0, 1 << 30, 1 << 30, 3});
  refused("adaptive_avg_pool2d", [&] { adaptive_avg_pool2d(image, int64_t{1} << 32, 1); });
  refused("adaptive_avg_pool2d", [&] { adaptive_avg_pool2d(image, (1 << 30) - 1, (1 << 30) - 1); });
  refused("conv2d", [&] { conv2d(image, zeros({1, 1, 1, 2}), {}, {.groups = kHuge}); });
  refused("conv2d", [&] { conv2d(image, zeros({1, 1, 1, 1}), {}, {.groups = kHuge}); });
  CHECK(conv2d(zeros({1, 2, 2, 0}), zeros({0, 1, 1, 0}), {}, {.groups = kHuge}).shape() == Shape{1, 2, 2, 0});
  refused("chunk", [] { chunk(zeros({0, 3}), kHuge, 0); });
  CHECK(chunk(zeros({0, 3}), 3, 0).size() == 3);
  for (const auto& f : std::vector<std::function<void()>>{
           [&] {
             conv2d(image, one, {}, {.padding = {int64_t{1} << 40, 0}});
           },
           [&] {
             pad(image, {0, int64_t{1} << 41, 0, 0}, {0, 0, 0, 0});
           },
           [&] {
             pad(image, {0, kHuge, 0, 0}, {0, kHuge, 0, 0});
           },
           [] { full({kHuge}, 1); }, [] { full({int64_t{1} << 42}, 1); },
           [] {
             full({kHuge, 0, 16}, 1);
           },
           [] { arange(int64_t{0}, kHuge); }, [] { arange(0.0, 1e18, 1.0); }, [] { linspace(0, 1, kHuge); },
           [] { linspace(0, 1, int64_t{1} << 42); }, [] { eye(int64_t{1} << 32); }}) {
    const int64_t before = memory_stats().reserved;
    CHECK(error_of(f) != "");
    CHECK(memory_stats().reserved - before < 1 << 20);
  }
  check_memory("x", {1, 0, kHuge}, 1);
  CHECK(error_of([] { check_memory("x", {kHuge}, 8); }) == "[x] the size of [4611686018427387904] overflows 64 bits");
  CHECK(error_of([] { check_memory("x", {memory_limit()}, 2); }).find("more than the") != std::string::npos);
}
