// The caching allocator: alignment, reuse, statistics; storages: versions and borrowed memory.
#include "atlas/core/storage.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "atlas/core/caching.h"
#include "atlas/ops/arithmetic.h"

using namespace atlas;

TEST_CASE("blocks are aligned, counted, and used again") {
  empty_cache();
  const MemoryStats before = memory_stats();
  void* where = nullptr;
  {
    Storage s(1000, Device{});
    where = s.data();
    CHECK(reinterpret_cast<uintptr_t>(where) % 64 == 0);
    CHECK(memory_stats().current == before.current + 1024);
    CHECK(memory_stats().reserved == before.reserved + 1024);
    CHECK(memory_stats().system_calls == before.system_calls + 1);
  }
  CHECK(memory_stats().current == before.current);
  CHECK(memory_stats().reserved == before.reserved + 1024);
  {
    Storage again(1010, Device{});  // the same size class
    CHECK(again.data() == where);
    CHECK(memory_stats().system_calls == before.system_calls + 1);
  }
  empty_cache();
  CHECK(memory_stats().reserved == before.reserved);
}

#ifdef ATLAS_ASAN
TEST_CASE("the address sanitizer knows which bytes are in use") {
  void* where = nullptr;
  {
    Storage s(1001, Device{});
    where = s.data();
    CHECK(__asan_region_is_poisoned(where, 1001) == nullptr);
    CHECK(__asan_address_is_poisoned(static_cast<char*>(where) + 1001) == 1);
    CHECK(__asan_address_is_poisoned(static_cast<char*>(where) + 1023) == 1);
  }
  CHECK(__asan_address_is_poisoned(where) == 1);
  Storage again(1024, Device{});
  CHECK(again.data() == where);
  CHECK(__asan_region_is_poisoned(where, 1024) == nullptr);
}
#endif

TEST_CASE("peak") {
  reset_peak_memory();
  const int64_t start = memory_stats().current;
  { Storage a(4096, Device{}), b(8192, Device{}); }
  { Storage c(4096, Device{}); }
  CHECK(memory_stats().peak == start + 4096 + 8192);
  CHECK(memory_stats().current == start);
  reset_peak_memory();
  CHECK(memory_stats().peak == start);
}

TEST_CASE("at most an eighth of a block is wasted, every size is aligned") {
  const int64_t start = memory_stats().current;
  for (int64_t bytes = 1; bytes < 200000; bytes += bytes < 5000 ? 1 : 977) {
    Storage s(bytes, Device{});
    const int64_t got = memory_stats().current - start;
    CHECK_UNARY(got >= bytes);
    CHECK_UNARY(got <= bytes + std::max<int64_t>(63, bytes / 8));
    CHECK_UNARY(reinterpret_cast<uintptr_t>(s.data()) % 64 == 0);
  }
  empty_cache();
}

TEST_CASE("zero bytes need no block; absurd sizes and absent devices are errors") {
  const int64_t start = memory_stats().current;
  Storage none(0, Device{});
  CHECK(none.data() == nullptr);
  CHECK(memory_stats().current == start);
  CHECK_THROWS_WITH_AS(Storage(int64_t{1} << 50, Device{}),
                       "[allocate] 1125899906842624 bytes is more than any machine has", Error);
  if (!kWithCuda) CHECK_THROWS_WITH_AS(Storage(4, Device::parse("cuda")), doctest::Contains("has no CUDA"), Error);
  CHECK(memory_stats().current == start);
}

namespace {
/// Memory of a device with room for `left` bytes; blocks are numbered, not real.
struct SmallMemory {
  static constexpr bool kBounded = false;
  int64_t* left;
  void* take(int64_t size) {
    if (size > *left) return nullptr;
    *left -= size;
    return reinterpret_cast<void*>(static_cast<uintptr_t>(*left) + 1);
  }
  void give(void*, int64_t size) { *left += size; }
  void mark_used(void*, int64_t, int64_t) {}
  std::string shortage() const { return bytes_text(*left) + " free"; }
};
}  // namespace

TEST_CASE("a device that is full: cached blocks are given back first, then the error says what there is") {
  int64_t left = 10000;
  BlockCache<SmallMemory> cache(SmallMemory{&left});
  void* a = cache.allocate(4096);
  cache.deallocate(cache.allocate(4000), 4000);
  CHECK(left == 10000 - 2 * 4096);
  CHECK(cache.stats().reserved == 2 * 4096);
  void* b = cache.allocate(5000);  // the second block had to go
  CHECK(cache.stats().reserved == 4096 + 5120);
  CHECK(cache.stats().current == 4096 + 5120);
  CHECK(cache.stats().system_calls == 3);
  CHECK_THROWS_WITH_AS(
      cache.allocate(3 << 20),
      "[allocate] out of memory: wanted 3.00 MiB with 9.00 KiB in use and nothing cached; 784 bytes free", Error);
  CHECK(cache.stats().current == 4096 + 5120);  // and everything works on
  cache.deallocate(a, 4096);
  CHECK(cache.allocate(4090) == a);
  cache.deallocate(b, 5000);
  cache.empty_cache();
  CHECK(left == 10000 - 4096);
  CHECK(cache.stats().peak == 4096 + 5120);
}

namespace {
/// Counts what is out, and hands out addresses that nobody reads.
struct CountedMemory {
  static constexpr bool kBounded = true;
  int64_t* out;
  int64_t* next;
  void* take(int64_t size) {
    *out += size;
    return reinterpret_cast<void*>(static_cast<uintptr_t>(*next += size));
  }
  void give(void*, int64_t size) { *out -= size; }
  void mark_used(void*, int64_t, int64_t) {}
  std::string shortage() const { return ""; }
};
}  // namespace

TEST_CASE("blocks that wait for nobody go back: the cache is bounded by what was in use at most") {
  constexpr int64_t MiB = 1 << 20;
  int64_t out = 0, next = 0;
  BlockCache<CountedMemory> cache(CountedMemory{&out, &next});
  for (int64_t m = 100; m <= 1000; m += 100) cache.deallocate(cache.allocate(m * MiB), m * MiB);
  CHECK(cache.stats().reserved == out);
  CHECK(out >= 1000 * MiB);  // the last block waits for the next of its size
  CHECK(out <= 1024 * MiB * 19 / 16 + 64 * MiB);
  const int64_t calls = cache.stats().system_calls;
  cache.deallocate(cache.allocate(1000 * MiB), 1000 * MiB);
  CHECK(cache.stats().system_calls == calls);

  // Steps that ask for the same blocks every time ask the system for nothing once they have them.
  for (int step = 0; step < 3; ++step) {
    if (step == 1) next = 0;
    void* a = cache.allocate(600 * MiB);
    void* b = cache.allocate(300 * MiB);
    cache.deallocate(b, 300 * MiB);
    void* c = cache.allocate(200 * MiB);
    cache.deallocate(a, 600 * MiB);
    cache.deallocate(c, 200 * MiB);
  }
  CHECK(next == 0);
}

TEST_CASE("sizes as text") {
  CHECK(bytes_text(0) == "0 bytes");
  CHECK(bytes_text(1023) == "1023 bytes");
  CHECK(bytes_text(1536) == "1.50 KiB");
  CHECK(bytes_text(int64_t{79} << 30) == "79.00 GiB");
  CHECK(bytes_text(int64_t{5} << 50) == "5120.00 TiB");
}

TEST_CASE("the default device") {
  const Device before = default_device();
  set_default_device(Device{});
  CHECK(default_device() == Device{});
  if (!kWithCuda)
    CHECK_THROWS_WITH_AS(set_default_device(Device::parse("cuda:1")),
                         doctest::Contains("this build of atlas has no CUDA"), Error);
  CHECK(default_device() == Device{});
  set_default_device(before);
}

TEST_CASE("versions count changes; borrowed memory is given back once") {
  Storage s(64, Device{});
  CHECK(s.version() == 0);
  s.bump_version();
  CHECK(s.version() == 1);
  int released = 0;
  float data[4] = {1, 2, 3, 4};
  {
    Storage borrowed(data, sizeof data, Device{}, [&] { ++released; });
    CHECK(borrowed.data() == data);
    CHECK(released == 0);
  }
  CHECK(released == 1);
}

TEST_CASE("threads allocate and free at the same time") {
  const int64_t start = memory_stats().current;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 500; ++i) {
        Storage s(64 * (1 + (i * (t + 1)) % 50), Device{});
        static_cast<char*>(s.data())[0] = static_cast<char>(i);
      }
    });
  for (auto& t : threads) t.join();
  CHECK(memory_stats().current == start);
}
