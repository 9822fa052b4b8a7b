// Memory of the CPU and what a storage does with it.
#pragma once

#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "atlas/core/caching.h"
#include "atlas/core/shape.h"
#include "atlas/core/storage.h"

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

ATLAS_INLINE std::string bytes_text(int64_t bytes) {
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return fmt::format("{:.2f} {}", value, unit);
}

namespace detail {

/// The limit of the container that this process is in, if there is one (cgroups, version 2 or 1).
inline int64_t container_limit() {
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (std::FILE* const file = std::fopen(path, "re"); file != nullptr) {
      long long bytes = 0;
      const bool number = std::fscanf(file, "%lld", &bytes) == 1;  // "max" is none
      std::fclose(file);
      if (number && bytes > 0) return bytes;
    }
  return std::numeric_limits<int64_t>::max();
}

}  // namespace detail

ATLAS_INLINE int64_t memory_limit() {
  static const int64_t container = detail::container_limit();
  int64_t limit = container;
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) limit = std::min(limit, static_cast<int64_t>(pages) * page);
  rlimit r{};
  if (::getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
    limit = static_cast<int64_t>(std::min<rlim_t>(r.rlim_cur, static_cast<rlim_t>(limit)));
  return limit;
}

ATLAS_INLINE void check_memory(std::string_view op, const Shape& shape, int64_t item, Device device) {
  int64_t bytes = item;
  bool empty = false, fits = true;
  for (const int64_t n : shape) {
    empty = empty || n == 0;
    fits = fits && (n == 0 || !__builtin_mul_overflow(bytes, n, &bytes));
  }
  check(empty || fits, op, "the size of {} overflows 64 bits", shape);
  constexpr int64_t kLittle = int64_t{1} << 20;  // not worth asking the system
  if (empty || device.is_cuda() || bytes < kLittle) return;
  check(bytes <= memory_limit(), op, "{} takes {}, more than the {} that this process may have", shape,
        bytes_text(bytes), bytes_text(memory_limit()));
}

namespace detail {

/// Memory of the CPU: 64-byte aligned blocks of the system.
struct HostMemory {
  static constexpr bool kBounded = true;
  void* take(int64_t size) {
    // Large blocks lie on huge pages where the system has them: kernels walk over many rows at once, and with pages of
    // 4 KiB they wait for address translations.
    constexpr int64_t kHugePage = int64_t{2} << 20;
    const bool huge = size >= 2 * kHugePage;
    if (size > memory_limit()) return nullptr;  // systems that overcommit would promise it
    void* p = nullptr;  // posix_memalign, because aligned_alloc wants sizes that are multiples of the alignment
    if (::posix_memalign(&p, huge ? kHugePage : 64, static_cast<size_t>(size)) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
    if (huge) ::madvise(p, static_cast<size_t>(size), MADV_HUGEPAGE);
#endif
    return p;
  }
  void give(void* p, int64_t) { std::free(p); }
  std::string shortage() const {
    return fmt::format("the system has no more, and this process may have {} (try a smaller batch)",
                       bytes_text(memory_limit()));
  }
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

}  // namespace detail

ATLAS_INLINE MemoryStats memory_stats(Device device) {
  if constexpr (kWithCuda)
    if (device.is_cuda()) return cuda::memory_stats(device);
  return detail::CachingAllocator::cpu().stats();
}
ATLAS_INLINE void reset_peak_memory(Device device) {
  if constexpr (kWithCuda)
    if (device.is_cuda()) return cuda::reset_peak_memory(device);
  detail::CachingAllocator::cpu().reset_peak();
}
ATLAS_INLINE void empty_cache(Device device) {
  if constexpr (kWithCuda)
    if (device.is_cuda()) return cuda::empty_cache(device);
  detail::CachingAllocator::cpu().empty_cache();
}

ATLAS_INLINE Storage::Storage(int64_t bytes, Device device) : bytes_(bytes), device_(device) {
  if (device.is_cuda()) {
    if constexpr (kWithCuda)
      data_ = cuda::allocate(device, bytes);
    else
      fail_no_cuda("allocate");
  } else if (bytes > 0) {
    data_ = detail::CachingAllocator::cpu().allocate(bytes);
  }
}
ATLAS_INLINE Storage::~Storage() {
  if (borrowed_) {
    if (release_) release_();
  } else if (data_ != nullptr) {
    if (!device_.is_cuda()) detail::CachingAllocator::cpu().deallocate(data_, bytes_);
    if constexpr (kWithCuda)
      if (device_.is_cuda()) cuda::deallocate(device_, data_, bytes_);
  }
}
ATLAS_INLINE void Storage::discard(const void* part, int64_t count) const {
  constexpr uintptr_t kPage = 4096;
  const auto begin = (reinterpret_cast<uintptr_t>(part) + kPage - 1) / kPage * kPage;
  const auto end = (reinterpret_cast<uintptr_t>(part) + static_cast<uintptr_t>(count)) / kPage * kPage;
  if (mapped_file_ && version_ == 0 && begin < end)
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace atlas::inline ATLAS_ABI
