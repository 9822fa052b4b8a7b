// The device that a process of several tests on.
#pragma once

#include "atlas/dist/placement.h"

namespace test {

/// The device of this process; of emulated ones every process has its own.
inline atlas::Device own_device([[maybe_unused]] const atlas::dist::Group& group) {
#if ATLAS_CUDA_EMULATE
  return {atlas::DeviceType::cuda, 0};
#else
  return atlas::dist::place_device(group, "cuda");
#endif
}

}  // namespace test
