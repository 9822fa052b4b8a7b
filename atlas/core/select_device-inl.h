// Devices by name.
#pragma once

#include <fmt/core.h>

#include "atlas/core/cuda.h"
#include "atlas/core/parallel.h"
#include "atlas/core/select_device.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Device select_device(std::string_view text) {
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

ATLAS_INLINE std::string describe_place(Device device) {
  if constexpr (kWithCuda)
    if (device.is_cuda()) return fmt::format("{} ({})", device.str(), cuda::describe_device(device));
  return fmt::format("{} thread{}", num_threads(), num_threads() == 1 ? "" : "s");
}

}  // namespace atlas::inline ATLAS_ABI
