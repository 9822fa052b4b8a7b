// Sizes beyond reason: what cannot be held is refused before it is asked for. About the memory of the CPU.
// ctest-device: cpu
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <functional>
#include <vector>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/conv_transpose.h"
#include "atlas/ops/index.h"
#include "atlas/ops/join.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/resize.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/window.h"
#include "atlas/tensor/create.h"
#include "tests/ops/random_input.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ATLAS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ATLAS_SANITIZED 1
#endif
#endif

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

TEST_CASE("absurd: parts, rows and classes that cannot be are an Error") {
  // Without elements, so that no tensor is too large: the lists about them are.
  for (const int64_t n : {int64_t{1} << 33, int64_t{1} << 40})
    CHECK(error_of([&] { chunk(zeros({n, 0}), n, 0); }).starts_with("[chunk] "));
  CHECK(chunk(zeros({5, 0}), 5, 0).size() == 5);

  constexpr int64_t kMany = int64_t{1} << 34;
  for (const Interpolation mode : {Interpolation::nearest, Interpolation::bilinear, Interpolation::bicubic}) {
    CHECK(error_of([&] { rows_read(kHuge, kHuge, {0, 1}, mode); }).starts_with("[rows_read] "));
    CHECK(error_of([&] { rows_read(kMany / 4, kMany, {3, 1}, mode); }).starts_with("[rows_read] "));
    CHECK(error_of([&] { rows_read(0, 5, {0, 1}, mode); }) == "[rows_read] a map of 0 rows has nothing to resize from");
    CHECK(error_of([&] { rows_read(-1, 5, {0, 1}, mode); }).find("a map of -1 rows") != std::string::npos);
    CHECK(error_of([&] {
            rows_read(5, 5, {INT64_MAX, 1}, mode);
          }).find("not all among the 5 rows") != std::string::npos);
    CHECK(error_of([&] {
            rows_read(5, 5, {1, INT64_MAX}, mode);
          }).find("not all among the 5 rows") != std::string::npos);
  }
  const Tensor x = zeros({1, 5, 4, 1});
  for (const int64_t first : {INT64_MAX, int64_t{1}})
    CHECK(error_of([&] {
            resize_rows(x, first, 5, 5, 4, {0, 1}, Interpolation::bilinear);
          }).find("but x float32") != std::string::npos);
  CHECK(error_of([&] {
          resize_rows(x, 0, 5, kMany, 4, {0, 1}, Interpolation::bilinear);
        }).starts_with("[resize_rows] "));
  CHECK(error_of([&] { resize_rows(x, 0, 5, 5, kMany, {0, 1}, Interpolation::bilinear); }) != "");

  CHECK(error_of([] { one_hot(from_vector<int64_t>({INT64_MAX}, {1})); }) ==
        "[one_hot] class 9223372036854775807 is too large: no number is above it");
  CHECK(error_of([] { one_hot(from_vector<int64_t>({INT64_MAX - 1}, {1})); }) != "");
}

TEST_CASE("absurd: tables of weights are counted before they are made, and where memory still ends it is an Error") {
  const int64_t many = memory_limit() / 100;  // results that fit into memory themselves
  for (const Interpolation mode : {Interpolation::nearest, Interpolation::bilinear})
    CHECK(error_of([&] { rows_read(5, many, {0, 1}, mode); }).find("more than the") != std::string::npos);
#if !defined(ATLAS_SANITIZED)  // sanitizers need address space without end
  const Tensor x = ones({1, 1, 1, 1});
  rlimit before{}, now{};
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  now = before;
  now.rlim_cur = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE) + (int64_t{64} << 20));
  REQUIRE(::setrlimit(RLIMIT_AS, &now) == 0);
  const std::string wide = error_of([&] { resize(x, 1, 1 << 21, Interpolation::bilinear); }),
                    mean = error_of([&] { adaptive_avg_pool2d(x, 1 << 21, 1); });
  REQUIRE(::setrlimit(RLIMIT_AS, &before) == 0);
  CHECK(wide.starts_with("[resize] "));
  CHECK(mean.starts_with("[adaptive_avg_pool2d] "));
#endif
}

TEST_CASE("absurd: lengths that are too large are said to be") {
  const Tensor x = zeros({1, 4, 4, 2}), weight = zeros({2, 2, 2, 3});
  const auto says = [](const char* text, const auto& f) {
    const std::string error = error_of(f);
    CHECK_MESSAGE(error.find(text) != std::string::npos, error);
  };
  says("the new size is 4294967296 x 4294967296, needs lengths in [1, 1073741823]",
       [&] { adaptive_avg_pool2d(x, int64_t{1} << 32, int64_t{1} << 32); });
  for (const int64_t n : {kHuge, int64_t{2000000001}}) {
    says("need lengths in [1, 1073741824], got", [&] { max_pool2d(x, {2, 2}, {n, n}); });
    says("need lengths in [1, 1073741824], got", [&] { max_pool2d(x, n); });
    says("need lengths in [1, 1073741824], got", [&] { avg_pool2d(x, {2, 2}, {n, 1}); });
    says("need lengths in [1, 1073741824], got", [&] { avg_pool2d(x, n); });
  }
  const auto transposed = [&](const ConvTranspose2dOptions& o) { conv_transpose2d(x, weight, {}, o); };
  says("stride is too large along axis 1: 1000000000, needs less than 1048576", [&] {
    transposed({.stride = {1'000'000'000, 1}});
  });
  says("dilation is too large along axis 2: 2147483648, needs less than 1048576", [&] {
    transposed({.dilation = {1, int64_t{1} << 31}});
  });
  says("padding is too large along axis 1: 4611686018427387904, needs less than 1099511627776", [&] {
    transposed({.padding = {kHuge, 0}});
  });
  says("needs stride >= 1", [&] { transposed({.stride = {0, 1}}); });

  for (const int64_t batch : {0, 1}) {
    const std::string error = error_of([&] { window_reverse(zeros({0, 4, 2}), 2, batch, INT64_MAX, INT64_MAX); });
    CHECK_MESSAGE(error.starts_with("["), error);
    CHECK_MESSAGE(error.find("-") == std::string::npos, error);
  }
  CHECK(error_of([&] {
          window_reverse(zeros({2, 4, 2}), 2, 1, INT64_MAX, 1);
        }).find("1 * 4611686018427387904 * 1 ") != std::string::npos);
}
