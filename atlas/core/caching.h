// The caching allocator, for any kind of memory: size classes, reuse, statistics, and what is said when there is none.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "atlas/core/cuda.h"
#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

std::string bytes_text(int64_t bytes);  // storage.h, whose bodies include this file

/// Freed blocks wait in per-size lists for the next request of their size class.
///
/// Size classes are spaced an eighth of a power of two apart, so at most 12.5 % is wasted, and a training step that
/// repeats the same shapes asks the system for nothing. A block is handed out again at once: on a device all work that
/// uses blocks runs in the order of one stream, so the next owner's work comes after the last one's.
///
/// Source is where memory comes from: `void* take(int64_t)` returns null when there is none, `give(void*, int64_t)`
/// takes back, `mark_used(void* p, int64_t used, int64_t size)` hears which bytes of a block are in use, and
/// `shortage()` says what is left and what to do, for the error.
///
/// Where `kBounded` holds, the cache is bounded: all blocks together take at most 19/16 of the most that was in use,
/// and 64 MiB. Before one is taken beyond that, the largest blocks that wait go back. Steps of training stay below the
/// bound. An inference with maps of many sizes would keep half of its memory for nobody.
template <class Source>
class BlockCache {
 public:
  explicit BlockCache(Source source = {}) : source_(std::move(source)) {}

  /// A block of at least `bytes` (> 0) bytes, uninitialized. @throws Error when there is no more, even after every
  /// cached block was given back.
  void* allocate(int64_t bytes) {
    const int64_t size = size_class(bytes);
    std::lock_guard lock(mutex_);
    void* p = pool_ != 0 ? pop(pools_[pool_], size) : nullptr;
    if (p == nullptr) p = pop(free_, size);
    if (p == nullptr) p = from_source(size);
    if (pool_ != 0) owner_[p] = pool_;
    source_.mark_used(p, bytes, size);
    stats_.current += size;
    stats_.peak = std::max(stats_.peak, stats_.current);
    return p;
  }

  /// Returns a block; `bytes` is what allocate() was asked for. Raises nothing: destructors call it, also those of
  /// what was made before the memory ran out.
  void deallocate(void* p, int64_t bytes) {
    const int64_t size = size_class(bytes);
    std::lock_guard lock(mutex_);
    source_.mark_used(p, 0, size);
    stats_.current -= size;
    const auto owner = owner_.empty() ? owner_.end() : owner_.find(p);
    try {
      (owner == owner_.end() ? free_ : pools_[owner->second])[size].push_back(p);
    } catch (
        const std::bad_alloc&) {  // no room in the list; the block of a pool is lost, since others know its address
      if (owner != owner_.end()) return;
      source_.give(p, size);
      stats_.reserved -= size;
    }
  }

  /// From now on, blocks that are handed out belong to a pool, until use_pool(0): they come back to it and go to nobody
  /// else. For work that is recorded with the addresses of its memory.
  void use_pool(int64_t pool) {
    std::lock_guard lock(mutex_);
    pool_ = pool;
  }
  /// Gives the blocks of a pool to everybody.
  void end_pool(int64_t pool) {
    std::lock_guard lock(mutex_);
    for (auto& [size, list] : pools_[pool]) free_[size].insert(free_[size].end(), list.begin(), list.end());
    pools_.erase(pool);
    std::erase_if(owner_, [&](const auto& o) { return o.second == pool; });
  }

  MemoryStats stats() const {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() {
    std::lock_guard lock(mutex_);
    stats_.peak = stats_.current;
  }
  /// Gives every cached block back to the system.
  void empty_cache() {
    std::lock_guard lock(mutex_);
    release_cached();
  }

 private:
  static int64_t size_class(int64_t bytes) {
    check(bytes <= int64_t{1} << 46, "allocate", "{} bytes is more than any machine has", bytes);
    if (bytes <= 512) return (bytes + 63) / 64 * 64;
    const int64_t step = int64_t{1} << (60 - __builtin_clzll(static_cast<uint64_t>(bytes - 1)));
    const int64_t grain = std::max<int64_t>(step, 64);
    return (bytes + grain - 1) / grain * grain;
  }
  void* from_source(int64_t size) {
    if constexpr (Source::kBounded) release_beyond(size);
    void* p = source_.take(size);
    if (p == nullptr) {
      release_cached();
      p = source_.take(size);
    }
    if (p == nullptr)
      fail("allocate", "out of memory: wanted {} with {} in use and nothing cached; {}", bytes_text(size),
           bytes_text(stats_.current), source_.shortage());
    stats_.reserved += size;
    ++stats_.system_calls;
    return p;
  }
  /// Makes room among the cached blocks for one of `size` bytes.
  void release_beyond(int64_t size) {
    most_ = std::max({most_, stats_.peak, stats_.current + size});
    const int64_t bound = most_ + most_ / 16 * 3 + (int64_t{64} << 20);
    while (stats_.reserved + size > bound) {
      const auto largest = std::max_element(free_.begin(), free_.end(), [](const auto& a, const auto& b) {
        return (a.second.empty() ? 0 : a.first) < (b.second.empty() ? 0 : b.first);
      });
      if (largest == free_.end() || largest->second.empty()) return;
      source_.give(largest->second.back(), largest->first);
      largest->second.pop_back();
      stats_.reserved -= largest->first;
    }
  }
  void release_cached() {
    for (auto& [size, list] : free_) {
      for (void* p : list) source_.give(p, size);
      stats_.reserved -= size * static_cast<int64_t>(list.size());
      list.clear();
    }
  }

  using Lists = std::unordered_map<int64_t, std::vector<void*>>;  // by size class
  static void* pop(Lists& lists, int64_t size) {
    auto& list = lists[size];
    if (list.empty()) return nullptr;
    void* p = list.back();
    list.pop_back();
    return p;
  }

  mutable std::mutex mutex_;
  Lists free_;
  int64_t pool_ = 0;                          // in use
  std::unordered_map<int64_t, Lists> pools_;  // free blocks of pools
  std::unordered_map<void*, int64_t> owner_;  // of blocks that belong to a pool
  MemoryStats stats_;
  int64_t most_ = 0;  // bytes in use at most, ever
  Source source_;
};

}  // namespace atlas::inline ATLAS_ABI
