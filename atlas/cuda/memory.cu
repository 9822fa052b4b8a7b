// Device memory: one caching allocator per device (core/caching.h), and the scratch memory of kernels.
#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "atlas/core/caching.h"
#include "atlas/core/storage.h"
#include "atlas/cuda/device.h"
#include "atlas/cuda/launch.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

/// The allocator of a device. Never destroyed, so that tensors with static lifetime may be freed at exit.
BlockCache<DeviceMemory>& cache(Device device) {
  static BlockCache<DeviceMemory>* caches[kMaxDevices] = {};
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  auto& c = caches[device.index];
  if (c == nullptr) {
    check_device(device);
    c = new BlockCache<DeviceMemory>(DeviceMemory{device.index});
  }
  return *c;
}

void check_known(Device device) {
  check(device.is_cuda() && device.index >= 0 && device.index < kMaxDevices, "device", "{} is no CUDA device",
        device.str());
}

}  // namespace

void* allocate(Device device, int64_t bytes) {
  check_known(device);
  return bytes > 0 ? cache(device).allocate(bytes) : nullptr;
}
void deallocate(Device device, void* p, int64_t bytes) {
  if (p != nullptr) cache(device).deallocate(p, bytes);
}
MemoryStats memory_stats(Device device) {
  check_known(device);
  return cache(device).stats();
}
void reset_peak_memory(Device device) {
  check_known(device);
  cache(device).reset_peak();
}
void empty_cache(Device device) {
  check_known(device);
  cache(device).empty_cache();
}

namespace {
std::vector<std::string>& op_names() {
  static auto* names = new std::vector<std::string>;
  return *names;
}
std::mutex op_names_mutex;
}  // namespace

int fault_op(std::string_view name) {
  std::lock_guard lock(op_names_mutex);
  auto& names = op_names();
  const auto at = std::find(names.begin(), names.end(), name);
  if (at != names.end()) return static_cast<int>(at - names.begin());
  names.emplace_back(name);
  return static_cast<int>(names.size()) - 1;
}

void raise_fault(Device device) {
  Fault* f = fault(device);
  if (f->found == 0) return;
  const Fault seen = *f;
  f->found = 0;
  std::string op;
  {
    std::lock_guard lock(op_names_mutex);
    op = op_names().at(static_cast<size_t>(seen.op));
  }
  fail(op, "index {} is outside [0, {})", seen.value, seen.length);
}

namespace {
/// Pools that recorded work still uses, of all devices; scratch memory that it knows the address of stays then.
struct Pools {
  std::mutex mutex;
  int64_t last = 0, open = 0;
  std::vector<std::unique_ptr<Storage>> outgrown;
};
Pools& pools() {
  static Pools* instance = new Pools;
  return *instance;
}
}  // namespace

int64_t new_pool(Device device) {
  check_known(device);
  std::lock_guard lock(pools().mutex);
  ++pools().open;
  return ++pools().last;
}
void use_pool(Device device, int64_t pool) { cache(device).use_pool(pool); }
void end_pool(Device device, int64_t pool) {
  cache(device).end_pool(pool);
  std::lock_guard lock(pools().mutex);
  if (--pools().open == 0) pools().outgrown.clear();
}

void* workspace_bytes(Device device, int64_t bytes, int slot) {
  // Never destroyed: the device may be gone before static objects are.
  static auto* slots = new std::unique_ptr<Storage>[kMaxDevices * 8];
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  auto& s = slots[device.index * 8 + slot];
  if (!s || s->bytes() < bytes) {
    {
      std::lock_guard pool_lock(pools().mutex);
      if (s && pools().open > 0) pools().outgrown.push_back(std::move(s));
    }
    s.reset();
    s = std::make_unique<Storage>(std::max<int64_t>(bytes, 4096), device);
  }
  return s->data();
}

}  // namespace atlas::inline ATLAS_ABI::cuda
