// Memory of tensors: a reference-counted block with a version, from a caching allocator that never gives pages back.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "atlas/core/cuda.h"
#include "atlas/core/device.h"

namespace atlas::inline ATLAS_ABI {

/// Memory in use by tensors on a device (the CPU unless one is given), its peak, and what is reserved from the system.
MemoryStats memory_stats(Device device = {});
/// Starts a new measurement of MemoryStats::peak.
void reset_peak_memory(Device device = {});
/// Returns cached, unused blocks to the system.
void empty_cache(Device device = {});
/// "512 bytes", "1.50 MiB", "79.10 GiB"
std::string bytes_text(int64_t bytes);

class Shape;
/// The most bytes that this process may have on the CPU: the least of the machine's memory, its container's limit and
/// the process's limit of address space (ulimit -v).
int64_t memory_limit();
/// Refuses what `op` would make before anything is allocated or computed: `shape` with elements of `item` bytes.
/// @throws Error when its size overflows 64 bits or is more than memory_limit() on the CPU.
void check_memory(std::string_view op, const Shape& shape, int64_t item, Device device = {});

/// A block of memory shared by the tensors that view it.
class Storage {
 public:
  /// `bytes` of fresh uninitialized memory on `device`.
  Storage(int64_t bytes, Device device);
  /// Memory that belongs to someone else; `release` runs when the last tensor lets go.
  Storage(void* data, int64_t bytes, Device device, std::function<void()> release)
      : data_(data), bytes_(bytes), device_(device), borrowed_(true), release_(std::move(release)) {}
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  /// True for memory that belongs to someone else.
  bool borrowed() const { return borrowed_; }
  /// Says that a part of the memory, which was just read, is not needed soon. Pages of a mapped file are given back to
  /// the system, and read again if need be; nothing happens to other memory, or when the tensor was written to.
  void discard(const void* part, int64_t count) const;
  /// The memory is a private mapping of a file: discard() may drop its pages.
  void set_mapped_file() { mapped_file_ = true; }
  /// Counts in-place changes; a tensor saved for backward remembers it.
  uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_;
  Device device_;
  bool borrowed_ = false, mapped_file_ = false;
  uint64_t version_ = 0;
  std::function<void()> release_;
};

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/core/storage-inl.h"
#endif
