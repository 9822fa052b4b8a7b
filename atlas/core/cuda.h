// CUDA devices as the host sees them: which there are, their memory, copies and waiting. Bodies: atlas/cuda/memory.cu,
// in builds with CUDA alone; this header needs no toolkit.
#pragma once

#include <cstdint>
#include <string>

#include "atlas/core/device.h"

namespace atlas::inline ATLAS_ABI {

/// Bytes handed out by the allocator of a device.
struct MemoryStats {
  int64_t current = 0;       ///< in use by live storages
  int64_t peak = 0;          ///< largest `current` since start or reset_peak_memory()
  int64_t reserved = 0;      ///< taken from the system, in use or cached
  int64_t system_calls = 0;  ///< how often the system was asked for memory
};

/// CUDA: kernels and what they need. Work on a device is queued on one stream per device and host thread of control;
/// the host waits only where it says so.
namespace cuda {

/// Number of usable devices; 0 where there is no driver.
int device_count();
/// Why device_count() is 0, in one line ("no CUDA device: the driver is not loaded"); empty when it is not.
std::string no_device_reason();
/// Raises an error in one line unless `device` exists and this build has code for it.
void check_device(Device device);
/// "NVIDIA H100 80GB HBM3, 132 multiprocessors, 79.1 GiB, compute capability 9.0"
std::string describe_device(Device device);
/// "0000:3B:00.0": where the device sits in its machine, whatever number this process knows it by.
std::string pci_address(Device device);

/// A block of at least `bytes` bytes on the device, 256-byte aligned, or null for 0 bytes. Blocks are cached and reused
/// in stream order. @throws Error that says how much was wanted, is held and is free, and what to try.
void* allocate(Device device, int64_t bytes);
/// Gives a block back; `bytes` is what allocate() was asked for.
void deallocate(Device device, void* p, int64_t bytes);
MemoryStats memory_stats(Device device);
void reset_peak_memory(Device device);
void empty_cache(Device device);

/// Copies between host and device, or on or between devices, in the order of the stream. Those from or to the host
/// return when the host's memory may be read, changed or given back.
void copy_bytes(void* to, Device to_device, const void* from, Device from_device, int64_t bytes);
/// Sets bytes on the device, in the order of the stream.
void fill_bytes(Device device, void* p, int value, int64_t bytes);
/// Waits until everything queued on the device is done. @throws Error with CUDA's text when something had failed.
void synchronize(Device device);

}  // namespace cuda

/// Makes `device` the default of empty(), zeros(), randn(), from_vector(), ... and so of the parameters of new modules.
/// One for the process; to be set before other threads make tensors.
/// @throws Error when the device is not there.
inline void set_default_device(Device device) {
  if (device.is_cuda()) {
    if constexpr (kWithCuda)
      cuda::check_device(device);
    else
      fail_no_cuda("device");
  }
  detail::default_device_slot() = device;
}

}  // namespace atlas::inline ATLAS_ABI
