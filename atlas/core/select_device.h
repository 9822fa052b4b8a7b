// The device that somebody asks for by name, as programs do for --device.
#pragma once

#include <string>
#include <string_view>

#include "atlas/core/cuda.h"
#include "atlas/core/device.h"
#include "atlas/core/parallel.h"
#include "atlas/core/storage.h"

namespace atlas::inline ATLAS_ABI {

/// The device called "cpu", "cuda" (the first), "cuda:N", or "auto": the first CUDA device when there is one that this
/// build has code for, else the CPU.
/// @throws Error in one line when there is no such device, or this build cannot use it.
inline Device select_device(std::string_view text) {
  if (text == "auto") {
    if constexpr (kWithCuda) {
      try {
        if (cuda::device_count() == 0) return {};
        cuda::check_device({DeviceType::cuda, 0});
        return {DeviceType::cuda, 0};
      } catch (const Error&) {  // an old driver, or a GPU that this build has no code for
      }
    }
    return {};
  }
  const Device device = Device::parse(text);
  if (!device.is_cuda()) return device;
  if constexpr (kWithCuda)
    cuda::check_device(device);
  else
    fail("device", "{} was asked for, but this build of atlas has no CUDA: configure with -DATLAS_CUDA=ON, or use cpu",
         text);
  return device;
}

/// "2 threads", or "cuda:0 (NVIDIA H100 80GB HBM3, ...)".
inline std::string describe_place(Device device) {
  if constexpr (kWithCuda)
    if (device.is_cuda()) return fmt::format("{} ({})", device.str(), cuda::describe_device(device));
  return fmt::format("{} threads", num_threads());
}

/// Memory in use by tensors on a device, the CPU included.
inline MemoryStats memory_stats_of(Device device) {
  if constexpr (kWithCuda)
    if (device.is_cuda()) return cuda::memory_stats(device);
  return memory_stats();
}

}  // namespace atlas::inline ATLAS_ABI
