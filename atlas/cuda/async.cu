// Bodies of core/cuda_async.h: pinned memory, uploads and events. The emulation does everything at once and in order.
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>

#include "atlas/core/caching.h"
#include "atlas/core/cuda_async.h"
#include "atlas/cuda/device.h"
#include "atlas/cuda/launch.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

struct PinnedMemory {
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

#if !ATLAS_CUDA_EMULATE
/// The stream of uploads: it does not wait for the one that computes, nor that one for it.
cudaStream_t upload_stream(Device device) {
  static cudaStream_t streams[kMaxDevices] = {};
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  cudaStream_t& s = streams[device.index];
  if (s == nullptr) {
    stream(device);  // makes the device current
    check_status(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "upload");
  }
  return s;
}
cudaStream_t stream_of(Device device, Queue queue) {
  const cudaStream_t compute = stream(device);
  return queue == Queue::compute ? compute : upload_stream(device);
}
cudaEvent_t event(void* handle) { return static_cast<cudaEvent_t>(handle); }
#else
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
#endif

}  // namespace

void* allocate_pinned(int64_t bytes) { return bytes > 0 ? pinned().allocate(bytes) : nullptr; }
void deallocate_pinned(void* p, int64_t bytes) {
  if (p != nullptr) pinned().deallocate(p, bytes);
}

#if ATLAS_CUDA_EMULATE

Event::Event(Device device, bool) : device_(device), handle_(new double(0)) {}
Event::~Event() { delete static_cast<double*>(handle_); }
void Event::record(Queue) { *static_cast<double*>(handle_) = now(); }
void Event::hold(Queue) const {}
void Event::wait() const {}
double Event::seconds_between(const Event& from, const Event& to) {
  return *static_cast<const double*>(to.handle_) - *static_cast<const double*>(from.handle_);
}
void upload(Device device, void* to, const void* pinned_bytes, int64_t bytes) {
  copy_bytes(to, device, pinned_bytes, Device{}, bytes);
}

#else

Event::Event(Device device, bool timed) : device_(device) {
  stream(device);
  cudaEvent_t made = nullptr;
  check_status(cudaEventCreateWithFlags(&made, timed ? cudaEventDefault : cudaEventDisableTiming), "event");
  handle_ = made;
}
Event::~Event() {
  if (handle_ != nullptr) cudaEventDestroy(event(handle_));
}
void Event::record(Queue queue) { check_status(cudaEventRecord(event(handle_), stream_of(device_, queue)), "event"); }
void Event::hold(Queue queue) const {
  check_status(cudaStreamWaitEvent(stream_of(device_, queue), event(handle_), 0), "event");
}
void Event::wait() const { check_status(cudaEventSynchronize(event(handle_)), "event"); }
double Event::seconds_between(const Event& from, const Event& to) {
  float milliseconds = 0;
  check_status(cudaEventElapsedTime(&milliseconds, event(from.handle_), event(to.handle_)), "event");
  return static_cast<double>(milliseconds) * 1e-3;
}
void upload(Device device, void* to, const void* pinned_bytes, int64_t bytes) {
  if (bytes == 0) return;
  check_status(
      cudaMemcpyAsync(to, pinned_bytes, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, upload_stream(device)),
      "upload");
}

#endif

}  // namespace atlas::inline ATLAS_ABI::cuda
