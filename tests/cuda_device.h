// For tests that choose their devices themselves: whether there is a GPU.
#pragma once

#include "atlas/core/cuda.h"
#include "tests/compare.h"

namespace test {

inline constexpr atlas::Device kDevice{atlas::DeviceType::cuda, 0};

inline bool have_device() {
  if constexpr (atlas::kWithCuda) return atlas::cuda::device_count() > 0;
  return false;
}

}  // namespace test
