// Memory of tensors: a reference-counted block with a version, from a caching allocator that never gives pages back.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "atlas/core/caching.h"
#include "atlas/core/device.h"

// The address sanitizer sees only whole blocks of the system unless it is told which bytes of them are in use.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ATLAS_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ATLAS_ASAN 1
#endif
#ifdef ATLAS_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace atlas::inline ATLAS_ABI {

/// Memory of the CPU: 64-byte aligned blocks of the system.
struct HostMemory {
  void* take(int64_t size) {
    // Large blocks lie on huge pages where the system has them: kernels walk over many rows at once, and with pages of
    // 4 KiB they wait for address translations.
    constexpr int64_t kHugePage = int64_t{2} << 20;
    const bool huge = size >= 2 * kHugePage;
    void* p = nullptr;  // posix_memalign, because aligned_alloc wants sizes that are multiples of the alignment
    if (::posix_memalign(&p, huge ? kHugePage : 64, static_cast<size_t>(size)) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
    if (huge) ::madvise(p, static_cast<size_t>(size), MADV_HUGEPAGE);
#endif
    return p;
  }
  void give(void* p, int64_t) { std::free(p); }
  std::string shortage() const { return "the system has no more (try a smaller batch)"; }
  /// Tells the address sanitizer that of the `size` bytes at p the first `used` may be touched.
  void mark_used([[maybe_unused]] void* p, [[maybe_unused]] int64_t used, [[maybe_unused]] int64_t size) {
#ifdef ATLAS_ASAN
    __asan_unpoison_memory_region(p, static_cast<size_t>(used));
    __asan_poison_memory_region(static_cast<char*>(p) + used, static_cast<size_t>(size - used));
#endif
  }
};

/// The process-wide allocator of the CPU.
class CachingAllocator : public BlockCache<HostMemory> {
 public:
  /// Never destroyed, so that tensors with static lifetime may be freed at exit.
  static CachingAllocator& cpu() {
    static CachingAllocator* instance = new CachingAllocator;
    return *instance;
  }
};

/// Memory in use by tensors on a device (the CPU unless one is given), its peak, and what is reserved from the system.
inline MemoryStats memory_stats(Device device = {}) {
  if constexpr (kWithCuda)
    if (device.is_cuda()) return cuda::memory_stats(device);
  return CachingAllocator::cpu().stats();
}
/// Starts a new measurement of MemoryStats::peak.
inline void reset_peak_memory(Device device = {}) {
  if constexpr (kWithCuda)
    if (device.is_cuda()) return cuda::reset_peak_memory(device);
  CachingAllocator::cpu().reset_peak();
}
/// Returns cached, unused blocks to the system.
inline void empty_cache(Device device = {}) {
  if constexpr (kWithCuda)
    if (device.is_cuda()) return cuda::empty_cache(device);
  CachingAllocator::cpu().empty_cache();
}

/// A block of memory shared by the tensors that view it.
class Storage {
 public:
  /// `bytes` of fresh uninitialised memory on `device`.
  Storage(int64_t bytes, Device device) : bytes_(bytes), device_(device) {
    if (device.is_cuda()) {
      if constexpr (kWithCuda)
        data_ = cuda::allocate(device, bytes);
      else
        fail_no_cuda("allocate");
    } else if (bytes > 0) {
      data_ = CachingAllocator::cpu().allocate(bytes);
    }
  }
  /// Memory that belongs to someone else; `release` runs when the last tensor lets go.
  Storage(void* data, int64_t bytes, Device device, std::function<void()> release)
      : data_(data), bytes_(bytes), device_(device), borrowed_(true), release_(std::move(release)) {}
  ~Storage() {
    if (borrowed_) {
      if (release_) release_();
    } else if (data_ != nullptr) {
      if (!device_.is_cuda()) CachingAllocator::cpu().deallocate(data_, bytes_);
      if constexpr (kWithCuda)
        if (device_.is_cuda()) cuda::deallocate(device_, data_, bytes_);
    }
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  /// True for memory that belongs to someone else.
  bool borrowed() const { return borrowed_; }
  /// Says that a part of the memory, which was just read, is not needed soon. Pages of a mapped file are given back to
  /// the system, and read again if need be; nothing happens to other memory, or when the tensor was written to.
  void discard(const void* part, int64_t count) const {
    constexpr uintptr_t kPage = 4096;
    const auto begin = (reinterpret_cast<uintptr_t>(part) + kPage - 1) / kPage * kPage;
    const auto end = (reinterpret_cast<uintptr_t>(part) + static_cast<uintptr_t>(count)) / kPage * kPage;
    if (mapped_file_ && version_ == 0 && begin < end)
      ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
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
