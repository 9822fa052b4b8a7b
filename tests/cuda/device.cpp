// The emulated device: one, "cuda:0", whose memory is an arena of the host that is out of reach outside kernels and
// copies, so that host code which touches it crashes as on a GPU. Blocks begin as NaNs and end in guard bytes.
#include "atlas/cuda/device.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/core/caching.h"
#include "atlas/core/cuda_memory.h"
#include "tests/cuda/emulate.h"

namespace {

constexpr size_t kArena = size_t{16} << 30, kPage = 4096, kGuard = 64;
constexpr int kNaN = 0xff, kGuardByte = 0xa5;

struct Block {
  size_t used, size;  // asked for, and to the end of the guard bytes
};
/// What waits until the arena is open.
struct Pending {
  char* p;
  Block block;
  bool ends;  // check the guard bytes; else fill
};

struct Arena {
  std::recursive_mutex mutex;
  int open = 0;
  char* base = nullptr;
  size_t high = 0, opened = 0;
  std::map<char*, Block> live;
  std::map<size_t, std::vector<char*>> free;
  std::vector<Pending> pending;
  std::string last_op = "nothing";

  Arena() {
    void* p = mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    atlas::check(p != MAP_FAILED, "emulation", "no address space for {} bytes", kArena);
    base = static_cast<char*>(p);
  }
  bool holds(const void* p) const { return p >= base && p < base + kArena; }
  void protect(int how) {
    const size_t bytes = how == PROT_NONE ? opened : (high + kPage - 1) / kPage * kPage;
    if (bytes > 0) mprotect(base, bytes, how);
    opened = bytes;
  }
  /// Fills new blocks and checks those that were given back.
  void settle(const char* op) {
    const std::vector<Pending> all = std::move(pending);
    pending.clear();
    for (const Pending& q : all) {
      if (!q.ends) {
        std::memset(q.p, kNaN, q.block.used);
        std::memset(q.p + q.block.used, kGuardByte, q.block.size - q.block.used);
        continue;
      }
      for (size_t i = q.block.used; i < q.block.size; ++i)
        atlas::check(static_cast<unsigned char>(q.p[i]) == kGuardByte, op,
                     "emulation: something wrote {} bytes behind a block of {} bytes of device memory, before '{}'",
                     i - q.block.used + 1, q.block.used, last_op);
      // Pages of large blocks go back to the system: opening and closing the arena takes time for each page it has.
      char* const begin = base + (static_cast<size_t>(q.p - base) + kPage - 1) / kPage * kPage;
      char* const end = base + static_cast<size_t>(q.p + q.block.size - base) / kPage * kPage;
      if (q.block.size >= size_t{1} << 18) madvise(begin, static_cast<size_t>(end - begin), MADV_DONTNEED);
    }
  }
};

/// Never destroyed: tensors may be.
Arena& arena() {
  static Arena* instance = new Arena;
  return *instance;
}

}  // namespace

namespace emulate {

Access::Access(const char* op) {
  Arena& a = arena();
  a.mutex.lock();
  if (a.open++ > 0) return;
  a.protect(PROT_READ | PROT_WRITE);
  try {
    a.settle(op);
  } catch (...) {
    a.protect(PROT_NONE);
    --a.open;
    a.mutex.unlock();
    throw;
  }
  a.last_op = op;
}
Access::~Access() {
  Arena& a = arena();
  if (--a.open == 0) a.protect(PROT_NONE);
  a.mutex.unlock();
}

namespace {
thread_local Recording* recording_to = nullptr;
}

void begin_recording(Recording* to) { recording_to = to; }
void end_recording() { recording_to = nullptr; }
bool recording() { return recording_to != nullptr; }
void record(std::function<void()> step) { recording_to->push_back(std::move(step)); }
void replay(const Recording& recording) {
  for (const auto& step : recording) step();
}

}  // namespace emulate

namespace atlas::inline ATLAS_ABI::cuda {

void* DeviceMemory::take(int64_t size) {
  Arena& a = arena();
  std::lock_guard lock(a.mutex);
  const size_t whole = (static_cast<size_t>(size) + kGuard + 255) / 256 * 256;
  if (auto& list = a.free[whole]; !list.empty()) {
    char* p = list.back();
    list.pop_back();
    return p;
  }
  if (whole > kArena - a.high) return nullptr;
  char* p = a.base + a.high;
  a.high += whole;
  if (a.open > 0) a.protect(PROT_READ | PROT_WRITE);
  return p;
}
void DeviceMemory::give(void* p, int64_t size) {
  Arena& a = arena();
  std::lock_guard lock(a.mutex);
  a.free[(static_cast<size_t>(size) + kGuard + 255) / 256 * 256].push_back(static_cast<char*>(p));
}
std::string DeviceMemory::shortage() const {
  Arena& a = arena();
  std::lock_guard lock(a.mutex);
  return "cuda:0 (emulated) has " + bytes_text(static_cast<int64_t>(kArena - a.high)) + " free of " +
         bytes_text(static_cast<int64_t>(kArena)) + " (try a smaller batch)";
}
void DeviceMemory::mark_used(void* block, int64_t used, int64_t size) {
  Arena& a = arena();
  std::lock_guard lock(a.mutex);
  char* p = static_cast<char*>(block);
  if (used > 0) {
    // Replays write to a block for all whom it belonged to in turn: no guard can stand behind the last of them.
    const auto bytes = static_cast<size_t>(used);
    const Block b{bytes, emulate::recording() ? bytes : static_cast<size_t>(size) + kGuard};
    a.live[p] = b;
    a.pending.push_back({p, b, false});
  } else {
    a.pending.push_back({p, a.live.at(p), true});
    a.live.erase(p);
  }
}

Fault* fault(Device) {
  static Fault f;
  return &f;
}
bool synchronous() { return true; }

int device_count() { return 1; }
std::string no_device_reason() { return ""; }
void check_device(Device device) { check_index(device); }
std::string describe_device(Device) { return "the CPU, emulating CUDA for tests"; }
/// Processes that are shown different devices see different ones.
std::string pci_address(Device) {
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return fmt::format("emulated:{}", visible == nullptr ? "0" : visible);
}
DeviceBytes device_bytes(Device) {
  Arena& a = arena();
  const std::lock_guard lock(a.mutex);
  return {static_cast<int64_t>(kArena - a.high), static_cast<int64_t>(kArena)};
}

namespace {
/// Raises an error unless all bytes are of one live block of the device (or all are the host's).
void check_bytes(const char* what, const void* p, Device device, int64_t bytes) {
  Arena& a = arena();
  if (!device.is_cuda())
    return check(!a.holds(p), "copy", "emulation: {} should be host memory and is device memory", what);
  auto block = a.live.upper_bound(static_cast<char*>(const_cast<void*>(p)));
  const bool inside =
      block != a.live.begin() && (--block, static_cast<const char*>(p) + bytes <= block->first + block->second.used);
  check(inside, "copy", "emulation: {} is not {} bytes of one block of device memory", what, bytes);
}
}  // namespace

void copy_bytes(void* to, Device to_device, const void* from, Device from_device, int64_t bytes) {
  if (bytes <= 0) return;
  if (emulate::recording()) {
    check(to_device.is_cuda() && from_device.is_cuda(), "copy",
          "between host and device, which a CUDA graph cannot do: take it out of what is captured");
    return emulate::record([=] {
      const emulate::Access access("copy");
      std::memmove(to, from, static_cast<size_t>(bytes));
    });
  }
  const emulate::Access access("copy");
  check_bytes("the destination", to, to_device, bytes);
  check_bytes("the source", from, from_device, bytes);
  std::memmove(to, from, static_cast<size_t>(bytes));
  if (to_device.is_cuda() || !from_device.is_cuda()) return;
  if (const auto* meanwhile = waiter()) (*meanwhile)(0);
  raise_fault(from_device);
}
void fill_bytes(Device device, void* p, int value, int64_t bytes) {
  if (bytes <= 0) return;
  if (emulate::recording())
    return emulate::record([=] {
      const emulate::Access access("fill");
      std::memset(p, value, static_cast<size_t>(bytes));
    });
  const emulate::Access access("fill");
  check_bytes("the destination", p, device, bytes);
  std::memset(p, value, static_cast<size_t>(bytes));
}
void synchronize(Device device) {
  const emulate::Access settles("synchronize");
  if (const auto* meanwhile = waiter()) (*meanwhile)(0);
  raise_fault(device);
}

}  // namespace atlas::inline ATLAS_ABI::cuda
