// Bodies of emulate.h: fibers and the scheduler of a block.
#include "tests/cuda/emulate.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "atlas/core/error.h"
#include "atlas/core/storage.h"  // ATLAS_ASAN

#if defined(__x86_64__)
#define ATLAS_EMULATE_ASM 1
#else
#include <ucontext.h>
#endif
#ifdef ATLAS_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx{}, blockIdx{};
dim3 blockDim, gridDim;

namespace emulate {
namespace {

// ---- Fibers: a stack and the place where it goes on
#ifdef ATLAS_EMULATE_ASM
// Keeps the registers that a call keeps; ucontext would also make two system calls.
extern "C" void atlas_emulate_switch(void** from, void* to);
asm(R"(
  .text
  .type atlas_emulate_switch, @function
atlas_emulate_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size atlas_emulate_switch, .-atlas_emulate_switch
)");
#endif

constexpr size_t kStack = size_t{256} << 10, kPage = 4096;

struct Fiber {
  char* stack = nullptr;  // kStack bytes, the lowest page out of reach
#ifdef ATLAS_EMULATE_ASM
  void* sp = nullptr;
#else
  ucontext_t context;
#endif
  void* fake_stack = nullptr;  // of the address sanitizer
};

Fiber scheduler;

#ifdef ATLAS_ASAN
const void* scheduler_bottom = nullptr;
size_t scheduler_size = 0;
#endif

void switch_fiber(Fiber& from, Fiber& to, [[maybe_unused]] bool for_good = false) {
#ifdef ATLAS_ASAN
  const bool back = &to == &scheduler;
  __sanitizer_start_switch_fiber(for_good ? nullptr : &from.fake_stack, back ? scheduler_bottom : to.stack,
                                 back ? scheduler_size : kStack);
#endif
#ifdef ATLAS_EMULATE_ASM
  atlas_emulate_switch(&from.sp, to.sp);
#else
  swapcontext(&from.context, &to.context);
#endif
#ifdef ATLAS_ASAN
  const void* bottom = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(from.fake_stack, &bottom, &size);
  if (&from != &scheduler) {  // someone came here from the scheduler
    scheduler_bottom = bottom;
    scheduler_size = size;
  }
#endif
}

// ---- The block that runs
enum class State : unsigned char { ready, at_barrier, in_warp, done };

struct Thread {
  Fiber fiber;
  uint3 index{};
  State state = State::done;
  Site site{};  // where it waits
  bool value = false;
  unsigned mask = 0;  // in_warp: whom it waits for, and what they exchange
  const void* mine = nullptr;
  void* all = nullptr;
  size_t bytes = 0;
};

constexpr size_t kGuard = 64;
constexpr unsigned char kNaN = 0xff, kGuardByte = 0xa5;

const char* running_op = "";
Body running_body{};
std::vector<Thread> threads;
int running = -1, thread_count = 0, barrier_count = 0;
bool running_alone = false;
std::exception_ptr failure;
unsigned char* shared_memory = nullptr;
size_t shared_bytes = 0;
unsigned launches = 0;

std::string text(uint3 i) { return fmt::format("({},{},{})", i.x, i.y, i.z); }

void fiber_main() {
#ifdef ATLAS_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_bottom, &scheduler_size);
#endif
  try {
    running_body.call(running_body.self);
  } catch (...) {
    failure = std::current_exception();
  }
  Thread& t = threads[static_cast<size_t>(running)];
  t.state = State::done;
  switch_fiber(t.fiber, scheduler, true);
}

void prepare(Thread& t, size_t i) {
  Fiber& f = t.fiber;
  if (f.stack == nullptr) {
    void* p = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    atlas::check(p != MAP_FAILED, running_op, "emulation: no memory for the stack of a thread");
    mprotect(p, kPage, PROT_NONE);
    f.stack = static_cast<char*>(p);
  }
#ifdef ATLAS_ASAN
  __asan_unpoison_memory_region(f.stack + kPage, kStack - kPage);  // a thread given up left its marks
#endif
#ifdef ATLAS_EMULATE_ASM
  // Tops at different places of a page: equal ones would all fall into one set of the cache.
  void** top = reinterpret_cast<void**>(f.stack + kStack - 64 - i % 16 * 192);
  *--top = nullptr;  // fiber_main's return address, never used; leaves the alignment that a call has
  *--top = reinterpret_cast<void*>(&fiber_main);
  top -= 6;
  f.sp = top;
#else
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack;
  f.context.uc_stack.ss_size = kStack;
  f.context.uc_link = nullptr;
  makecontext(&f.context, fiber_main, 0);
  (void)i;
#endif
  f.fake_stack = nullptr;
  t.state = State::ready;
}

void resume(int i) {
  Thread& t = threads[static_cast<size_t>(i)];
  running = i;
  threadIdx = t.index;
  switch_fiber(scheduler, t.fiber);
  running = -1;
  if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
}

/// Back to the scheduler until it finds this thread ready again.
void wait_as(State state, Site site) {
  Thread& t = threads[static_cast<size_t>(running)];
  t.state = state;
  t.site = site;
  switch_fiber(t.fiber, scheduler);
}

bool same(const Site& a, const Site& b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

/// Lets lanes of a warp go on whose mask is complete. True when there were some.
bool finish_exchanges(Thread* lanes, int count) {
  bool any = false;
  unsigned looked_at = 0;
  for (int i = 0; i < count; ++i) {
    const Thread& first = lanes[i];
    if (first.state != State::in_warp || (looked_at >> i & 1u) != 0) continue;
    unsigned here = 0;
    for (int k = 0; k < count; ++k)
      if (lanes[k].state == State::in_warp && lanes[k].mask == first.mask && lanes[k].bytes == first.bytes &&
          same(lanes[k].site, first.site))
        here |= 1u << k;
    looked_at |= here;
    if (here != first.mask) continue;
    alignas(16) static unsigned char values[32 * 256];
    const size_t bytes = first.bytes;
    std::memset(values, 0, 32 * bytes);
    for (int k = 0; k < count; ++k)
      if ((here >> k & 1u) != 0) std::memcpy(values + static_cast<size_t>(k) * bytes, lanes[k].mine, bytes);
    for (int k = 0; k < count; ++k) {
      if ((here >> k & 1u) == 0) continue;
      std::memcpy(lanes[k].all, values, 32 * bytes);
      lanes[k].state = State::ready;
    }
    any = true;
  }
  return any;
}

/// Says why no thread can go on.
[[noreturn]] void fail_stuck() {
  const auto find = [](auto f) { return std::find_if(threads.begin(), threads.begin() + thread_count, f); };
  const auto line = [](const Site& s) { return fmt::format("{} ({}:{})", s.what, s.file, s.line); };
  const auto what = [&](const Thread& t) {
    return t.state == State::done ? "has returned" : "waits at " + line(t.site);
  };
  if (const auto t = find([](const Thread& x) { return x.state == State::in_warp; });
      t != threads.begin() + thread_count) {
    const int64_t i = t - threads.begin(), warp = i / 32 * 32;
    for (int64_t k = 0; k < 32; ++k) {
      if ((t->mask >> k & 1u) == 0) continue;
      if (warp + k >= thread_count)
        atlas::fail(running_op, "block {}: thread {} waits at {} for lane {}, which the block does not have",
                    text(blockIdx), text(t->index), line(t->site), k);
      const Thread& other = threads[static_cast<size_t>(warp + k)];
      if (other.state == State::in_warp && same(other.site, t->site) && other.mask == t->mask) continue;
      atlas::fail(running_op, "block {}: thread {} waits at {} for lane {} (mask {:#x}), which {}", text(blockIdx),
                  text(t->index), line(t->site), k, t->mask, what(other));
    }
    atlas::fail(running_op, "block {}: thread {} exchanges {} bytes at {}, others of its warp another number",
                text(blockIdx), text(t->index), t->bytes, line(t->site));
  }
  const auto t = find([](const Thread& x) { return x.state == State::at_barrier; });
  const auto other = find([&](const Thread& x) { return x.state != State::at_barrier || !same(x.site, t->site); });
  atlas::fail(running_op, "block {}: thread {} waits at {}, which thread {} never reaches: it {}", text(blockIdx),
              text(t->index), line(t->site), text(other->index), what(*other));
}

/// True when all threads wait at one barrier, which lets them go.
bool finish_barrier() {
  int count = 0;
  for (int i = 0; i < thread_count; ++i) {
    const Thread& t = threads[static_cast<size_t>(i)];
    if (t.state != State::at_barrier || !same(t.site, threads[0].site)) return false;
    count += t.value ? 1 : 0;
  }
  barrier_count = count;
  for (int i = 0; i < thread_count; ++i) threads[static_cast<size_t>(i)].state = State::ready;
  return true;
}

void run_block(bool backwards) {
  for (int i = 0; i < thread_count; ++i) prepare(threads[static_cast<size_t>(i)], static_cast<size_t>(i));
  const int warps = (thread_count + 31) / 32;
  for (;;) {
    for (int w = 0; w < warps; ++w) {
      const int first = (backwards ? warps - 1 - w : w) * 32, count = std::min(32, thread_count - first);
      do {
        for (int k = 0; k < count; ++k) {
          const int i = first + (backwards ? count - 1 - k : k);
          if (threads[static_cast<size_t>(i)].state == State::ready) resume(i);
        }
      } while (finish_exchanges(&threads[static_cast<size_t>(first)], count));
    }
    if (finish_barrier()) continue;
    for (int i = 0; i < thread_count; ++i)
      if (threads[static_cast<size_t>(i)].state != State::done) fail_stuck();
    return;
  }
}

void run_block_alone(bool backwards) {
  for (int i = 0; i < thread_count; ++i) {
    running = backwards ? thread_count - 1 - i : i;
    threadIdx = threads[static_cast<size_t>(running)].index;
    running_body.call(running_body.self);
  }
  running = -1;
}

void set_shared(size_t bytes) {
  static std::vector<unsigned char> buffer;
  shared_bytes = bytes;
  if (bytes == 0) return;
#ifdef ATLAS_ASAN
  if (!buffer.empty()) __asan_unpoison_memory_region(buffer.data(), buffer.size());
#endif
  if (buffer.size() < bytes + kGuard + 1024) buffer.resize(bytes + kGuard + 1024);
  const auto at = (reinterpret_cast<uintptr_t>(buffer.data()) + 1023) / 1024 * 1024;
  shared_memory = reinterpret_cast<unsigned char*>(at);
  std::memset(shared_memory + bytes, kGuardByte, kGuard);
#ifdef ATLAS_ASAN
  __asan_poison_memory_region(shared_memory + bytes, kGuard);
#endif
}
void check_shared() {
#ifdef ATLAS_ASAN
  return;  // which finds it at once
#endif
  for (size_t i = 0; shared_bytes > 0 && i < kGuard; ++i)
    if (shared_memory[shared_bytes + i] != kGuardByte)
      atlas::fail(running_op, "block {} wrote behind its {} bytes of dynamic shared memory", text(blockIdx),
                  shared_bytes);
}

Thread& meeting_thread(const char* what) {
  if (running_alone) atlas::fail(running_op, "the kernel was launched as `alone`, but its threads meet at {}", what);
  return threads[static_cast<size_t>(running)];
}

}  // namespace

void run_body(const char* op, dim3 grid, dim3 block, size_t shared, bool alone, Body body) {
  const int64_t count = int64_t{block.x} * block.y * block.z;
  atlas::check(count > 0 && count <= 1024 && block.z <= 64, op, "a block has 1 to 1024 threads, got ({},{},{})",
               block.x, block.y, block.z);
  atlas::check(grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535, op, "the grid ({},{},{}) is too large",
               grid.x, grid.y, grid.z);
  atlas::check(shared <= size_t{227} << 10, op, "{} bytes of shared memory: a block has 227 KiB", shared);
  const Access access(op);
  running_op = op;
  running_body = body;
  running_alone = alone;
  gridDim = grid;
  blockDim = block;
  thread_count = static_cast<int>(count);
  if (threads.size() < static_cast<size_t>(count)) threads.resize(static_cast<size_t>(count));
  for (unsigned i = 0; i < static_cast<unsigned>(count); ++i)
    threads[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
  set_shared(shared);
  const bool backwards = launches++ % 2 != 0;
  const int64_t blocks = int64_t{grid.x} * grid.y * grid.z;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t i = backwards ? blocks - 1 - b : b;
    blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                static_cast<unsigned>(i / grid.x / grid.y)};
    if (shared > 0) std::memset(shared_memory, kNaN, shared);
    if (alone)
      run_block_alone(backwards);
    else
      run_block(backwards);
    check_shared();
  }
}

void* dynamic_shared() {
  if (shared_bytes == 0) fail_thread("the kernel was launched without dynamic shared memory");
  return shared_memory;
}

void fail_thread(const char* what) {
  atlas::fail(running_op, "block {}, thread {}: {}", text(blockIdx), text(threadIdx), what);
}

void out_of_bounds(int64_t i, int64_t count, int64_t n) {
  const std::string elements =
      count == 1 ? fmt::format("element {}", i) : fmt::format("elements {} to {}", i, i + count - 1);
  fail_thread(fmt::format("{} of a view of {}", elements, n).c_str());
}

void warp_exchange(unsigned mask, const void* mine, size_t bytes, void* all, Site site) {
  Thread& t = meeting_thread(site.what);
  if ((mask >> (running % 32) & 1u) == 0)
    fail_thread(fmt::format("{} with a mask without its own lane", site.what).c_str());
  if (bytes > 256) fail_thread("a warp exchanges at most 256 bytes a lane");
  t.mask = mask;
  t.mine = mine;
  t.bytes = bytes;
  t.all = all;
  wait_as(State::in_warp, site);
}

int block_barrier(bool value, Site site) {
  meeting_thread(site.what).value = value;
  wait_as(State::at_barrier, site);
  return barrier_count;
}

int lane() { return running % 32; }

}  // namespace emulate
