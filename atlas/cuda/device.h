// What device memory is made of: the part of core/cuda.h that differs between a GPU (device.cu) and its emulation on
// the CPU (tests/cuda/device.cpp). memory.cu makes an allocator of it. No toolkit is needed here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "atlas/core/cuda.h"
#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::cuda {

/// Memory of one device, as core/caching.h takes it.
struct DeviceMemory {
  static constexpr bool kBounded = false;  // giving back waits for the device, and recorded graphs keep addresses
  int index = 0;
  void* take(int64_t size);  ///< 256-byte aligned; null when there is none
  void give(void* p, int64_t size);
  std::string shortage() const;  ///< "cuda:0 has 0.40 GiB free of 79.10 GiB (...)"
  void mark_used(void* p, int64_t used, int64_t size);
};

/// A number for a pool of blocks that recorded work uses (core/caching.h); use_pool(device, 0) is the common one.
int64_t new_pool(Device device);
void use_pool(Device device, int64_t pool);
void end_pool(Device device, int64_t pool);

/// Most devices a process uses.
inline constexpr int kMaxDevices = 16;

/// What a kernel found wrong with its data, for instance an index out of range. It lies in host memory that the device
/// writes, and becomes an error where the host waits for the device next.
struct Fault {
  int found = 0;
  int op = 0;  ///< fault_op()
  int64_t value = 0, length = 0;
};
/// The fault of a device. Kernels fill it when they are the first to set `found`.
Fault* fault(Device device);
/// A number for the name of an op, which kernels can hand on.
int fault_op(std::string_view name);
/// Raises what kernels have found so far, `[op] index 7 is outside [0, 5)`.
void raise_fault(Device device);
/// Whether every launch is waited for, so that an error names the op that made it: debug builds, the environment
/// variable ATLAS_CUDA_SYNC=1, emulation.
bool synchronous();

/// What while_waiting() was given, for the thread that gave it; null for others, and when nobody did.
const std::function<void(double seconds)>* waiter();

/// Raises the error for a device that is not there.
inline void check_index(Device device) {
  const int count = device_count();
  if (count == 0) fail("device", "{} is not there: {}", device.str(), no_device_reason());
  check(device.index < count, "device", "{} is not there: this machine has {} CUDA device{} (cuda:0{})", device.str(),
        count, count == 1 ? "" : "s", count == 1 ? "" : " to cuda:" + std::to_string(count - 1));
}

}  // namespace atlas::inline ATLAS_ABI::cuda
