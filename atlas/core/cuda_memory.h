// How much memory a CUDA device has, and how much of it is free.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>

#include "atlas/core/cuda.h"

namespace atlas::inline ATLAS_ABI::cuda {

/// Bytes of a device.
struct DeviceBytes {
  int64_t free = 0;   ///< what nobody holds; blocks that this process has cached are held
  int64_t total = 0;  ///< of the device
};
/// @throws Error as check_device().
DeviceBytes device_bytes(Device device);

}  // namespace atlas::inline ATLAS_ABI::cuda
