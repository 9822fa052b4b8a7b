// Bodies of core/cuda_async.h: pinned memory, uploads and events. The emulation does everything at once and in order.
#include <chrono>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#if !ATLAS_CUDA_EMULATE
#include <unistd.h>
#endif

#include "atlas/core/caching.h"
#include "atlas/core/cuda_async.h"
#include "atlas/core/cuda_graph.h"
#include "atlas/cuda/device.h"
#include "atlas/cuda/launch.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

struct PinnedMemory {
  static constexpr bool kBounded = false;  // giving back waits for all devices
  void* take(int64_t size) {
#if ATLAS_CUDA_EMULATE
    return std::aligned_alloc(64, static_cast<size_t>(size));
#else
    // Threads of loaders have chosen no device, and the first one's context would take memory of a device that nobody
    // asked for.
    if (const int device = last_device(); device >= 0) check_status(cudaSetDevice(device), "allocate_pinned");
    void* p = nullptr;
    // Portable: usable from every device.
    const cudaError_t status = cudaHostAlloc(&p, static_cast<size_t>(size), cudaHostAllocPortable);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // it is reported with the sizes
      return nullptr;
    }
    check_status(status, "allocate_pinned");
    return p;
#endif
  }
  void give(void* p, int64_t) {
#if ATLAS_CUDA_EMULATE
    std::free(p);
#else
    cudaFreeHost(p);
#endif
  }
  std::string shortage() const { return "the system pins no more memory (smaller batches, fewer prefetched?)"; }
  void mark_used(void*, int64_t, int64_t) {}
};

BlockCache<PinnedMemory>& pinned() {
  static auto* cache = new BlockCache<PinnedMemory>;  // never destroyed: tensors may outlive static objects
  return *cache;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// What is done while a thread waits.
struct Waiter {
  std::thread::id thread;
  std::function<void(double)> what;
};
Waiter& the_waiter() {
  static auto* instance = new Waiter;
  return *instance;
}

#if !ATLAS_CUDA_EMULATE
/// The stream of a queue. Those beside the one that computes do not wait for it, nor it for them.
cudaStream_t cuda_stream(Device device, Queue queue) {
  const cudaStream_t compute = stream(device);  // makes the device current
  if (queue == Queue::compute) return compute;
  static cudaStream_t streams[kMaxDevices][2] = {};
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  cudaStream_t& s = streams[device.index][queue == Queue::upload ? 0 : 1];
  if (s == nullptr) check_status(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "device");
  return s;
}
cudaEvent_t event(void* handle) { return static_cast<cudaEvent_t>(handle); }

/// Asks until something has happened, or the waiter gives up; without a waiter it returns at once.
template <class Query>
void ask(const Query& query, const char* op) {
  const auto* const meanwhile = waiter();
  if (meanwhile == nullptr) return;
  const double start = now();
  for (int64_t turn = 0;; ++turn) {
    const cudaError_t status = query();
    if (status != cudaErrorNotReady) return check_status(status, op);
    cudaGetLastError();
    if (turn < 1000) continue;
    ::usleep(50);
    (*meanwhile)(now() - start);
  }
}
#endif

}  // namespace

void while_waiting(std::function<void(double)> what) { the_waiter() = {std::this_thread::get_id(), std::move(what)}; }
const std::function<void(double)>* waiter() {
  const Waiter& w = the_waiter();
  return w.what && w.thread == std::this_thread::get_id() ? &w.what : nullptr;
}

void* allocate_pinned(int64_t bytes) { return bytes > 0 ? pinned().allocate(bytes) : nullptr; }
void deallocate_pinned(void* p, int64_t bytes) {
  if (p != nullptr) pinned().deallocate(p, bytes);
}

#if ATLAS_CUDA_EMULATE

constexpr double kNotRecorded = std::numeric_limits<double>::quiet_NaN();

void* stream_of(Device, Queue queue) {
  static char queues[3];  // told apart by their addresses
  return &queues[static_cast<int>(queue)];
}
Event::Event(Device device, bool timed) : device_(device), timed_(timed), handle_(new double(kNotRecorded)) {}
Event::~Event() { delete static_cast<double*>(handle_); }
void Event::record(Queue) {
  auto* const at = static_cast<double*>(handle_);
  if (timed_ && emulate::recording()) return emulate::record([at] { *at = now(); });
  *at = now();
}
void Event::hold(Queue) const {}
void Event::wait() const {
  if (const auto* meanwhile = waiter()) (*meanwhile)(0);
}
double Event::seconds_between(const Event& from, const Event& to) {
  return *static_cast<const double*>(to.handle_) - *static_cast<const double*>(from.handle_);
}
void upload(Device device, void* to, const void* pinned_bytes, int64_t bytes) {
  copy_bytes(to, device, pinned_bytes, Device{}, bytes);
}

#else

void* stream_of(Device device, Queue queue) { return cuda_stream(device, queue); }
void wait_for(cudaStream_t s, const char* op) {
  ask([s] { return cudaStreamQuery(s); }, op);
  check_status(cudaStreamSynchronize(s), op);
}
void wait_for(cudaEvent_t e, const char* op) {
  ask([e] { return cudaEventQuery(e); }, op);
  check_status(cudaEventSynchronize(e), op);
}

Event::Event(Device device, bool timed) : device_(device), timed_(timed) {
  stream(device);
  cudaEvent_t made = nullptr;
  check_status(cudaEventCreateWithFlags(&made, timed ? cudaEventDefault : cudaEventDisableTiming), "event");
  handle_ = made;
}
Event::~Event() {
  if (handle_ != nullptr) cudaEventDestroy(event(handle_));
}
void Event::record(Queue queue) {
  const unsigned how = timed_ && capturing() ? cudaEventRecordExternal : cudaEventRecordDefault;
  check_status(cudaEventRecordWithFlags(event(handle_), cuda_stream(device_, queue), how), "event");
}
void Event::hold(Queue queue) const {
  check_status(cudaStreamWaitEvent(cuda_stream(device_, queue), event(handle_), 0), "event");
}
void Event::wait() const { wait_for(event(handle_), "event"); }
double Event::seconds_between(const Event& from, const Event& to) {
  float milliseconds = 0;
  const cudaError_t status = cudaEventElapsedTime(&milliseconds, event(from.handle_), event(to.handle_));
  if (status == cudaErrorInvalidResourceHandle) {
    cudaGetLastError();
    return std::numeric_limits<double>::quiet_NaN();
  }
  check_status(status, "event");
  return static_cast<double>(milliseconds) * 1e-3;
}
void upload(Device device, void* to, const void* pinned_bytes, int64_t bytes) {
  if (bytes == 0) return;
  check_status(cudaMemcpyAsync(to, pinned_bytes, static_cast<size_t>(bytes), cudaMemcpyHostToDevice,
                               cuda_stream(device, Queue::upload)),
               "upload");
}

#endif

}  // namespace atlas::inline ATLAS_ABI::cuda
