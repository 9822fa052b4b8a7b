// When there is no memory: what destructors give back needs none, and threads that cannot be had are done without.
#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/tensor/create.h"

namespace {

/// While true, `new` has nothing for this thread.
thread_local bool exhausted = false;

struct Exhausted {
  Exhausted() { exhausted = true; }
  ~Exhausted() { exhausted = false; }
  Exhausted(const Exhausted&) = delete;
  Exhausted& operator=(const Exhausted&) = delete;
};

}  // namespace

// Not inlined: the compiler would see free() take what new gave.
[[gnu::noinline]] void* operator new(size_t size) {
  if (exhausted) throw std::bad_alloc();
  if (void* p = std::malloc(size > 0 ? size : 1)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return exhausted ? nullptr : std::malloc(size > 0 ? size : 1);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

using namespace atlas;

TEST_CASE("memory: tensors go although there is no memory to list their blocks in") {
  constexpr int64_t kBytes = 777'777;  // a size that nothing else asks for
  std::vector<Tensor> all;
  for (int i = 0; i < 33; ++i) all.push_back(empty({kBytes}, uint8, Device{}));
  const MemoryStats before = memory_stats();
  {
    const Exhausted now;
    all.clear();
  }
  const MemoryStats after = memory_stats();
  CHECK(before.current - after.current >= 33 * kBytes);
  CHECK(before.reserved - after.reserved >= kBytes);  // given to the system
  CHECK(empty({kBytes}, uint8, Device{}).numel() == kBytes);
}

TEST_CASE("memory: without memory for threads the work is done by those there are") {
  const int threads = num_threads();
  {
    const Exhausted now;
    set_num_threads(4);
  }
  CHECK(num_threads() == 1);
  std::vector<int> done(100, 0);
  parallel_for(100, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++done[static_cast<size_t>(i)];
  });
  CHECK(done == std::vector<int>(100, 1));
  set_num_threads(threads);
  CHECK(num_threads() == threads);
}
