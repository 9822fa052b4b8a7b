// Devices by name.
#include "atlas/core/select_device.h"

#include <doctest/doctest.h>

#include <utility>

#include "atlas/core/cuda.h"
#include "atlas/core/parallel.h"
#include "tests/compare.h"

using namespace atlas;

namespace {
std::string message_of(const char* text) {
  return test::message_of([&] { select_device(text); });
}
}  // namespace

TEST_CASE("Names of devices") {
  CHECK(select_device("cpu") == Device{});
  CHECK(message_of("gpu") == "[device] 'gpu' is no device; use cpu, cuda or cuda:N");
  CHECK(message_of("cuda:-1") == "[device] 'cuda:-1' is no device; use cpu, cuda or cuda:N");
  int count = 0;
  if constexpr (kWithCuda) count = cuda::device_count();
  CHECK(select_device("auto").is_cuda() == (count > 0));
  if (count > 0) {
    CHECK(select_device("cuda") == Device{DeviceType::cuda, 0});
    CHECK(message_of("cuda:99").find("cuda:99 is not there") != std::string::npos);
  } else if (!kWithCuda) {
    CHECK(message_of("cuda:1") ==
          "[device] cuda:1 was asked for, but this build of atlas has no CUDA: configure with -DATLAS_CUDA=ON, or use "
          "cpu");
  }
}

TEST_CASE("Where a program computes, in words") {
  const int before = num_threads();
  for (const auto& [threads, text] : {std::pair{1, "1 thread"}, {2, "2 threads"}}) {
    set_num_threads(threads);
    CHECK(describe_place(Device{}) == text);
  }
  set_num_threads(before);
}
