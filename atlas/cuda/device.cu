// CUDA devices: which there are and what is wrong with them, the stream of each, raw memory, copies, waiting.
#include <fmt/core.h>

#include <atomic>
#include <mutex>
#include <string>

#include "atlas/core/caching.h"
#include "atlas/core/cuda_graph.h"
#include "atlas/core/cuda_memory.h"
#include "atlas/cuda/device.h"
#include "atlas/cuda/launch.cuh"

#ifndef ATLAS_CUDA_ARCHS_TEXT
#define ATLAS_CUDA_ARCHS_TEXT "unknown"
#endif

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

/// The devices of this process, looked for once.
struct Devices {
  int count = 0;
  std::string reason;

  Devices() {
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess && count > 0) {
      count = std::min(count, kMaxDevices);
      return;
    }
    count = 0;
    cudaGetLastError();
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (status == cudaErrorInsufficientDriver && driver == 0)
      reason = "no NVIDIA driver is installed or loaded";
    else if (status == cudaErrorInsufficientDriver)
      reason = fmt::format("the NVIDIA driver supports CUDA {}, this build needs {} (update the driver)",
                           version_text(driver), version_text(runtime));
    else if (status == cudaSuccess || status == cudaErrorNoDevice)
      reason = "the NVIDIA driver sees no GPU (does nvidia-smi list one, and CUDA_VISIBLE_DEVICES allow it?)";
    else
      reason = fmt::format("CUDA says: {}", cudaGetErrorString(status));
  }
  static const Devices& get() {
    static const Devices devices;
    return devices;
  }
};

/// Asks whether this build has code for the current device.
__global__ void any_kernel() {}

std::atomic<int> last_used{-1};

/// Whether a kernel that had been started before is to blame: the device has given up, and every call says so.
bool from_kernel(cudaError_t status) {
  return status == cudaErrorIllegalAddress || status == cudaErrorMisalignedAddress ||
         status == cudaErrorLaunchFailure || status == cudaErrorIllegalInstruction ||
         status == cudaErrorInvalidAddressSpace || status == cudaErrorInvalidPc || status == cudaErrorLaunchTimeout ||
         status == cudaErrorAssert || status == cudaErrorHardwareStackError;
}

/// Whether the device reads this host memory by itself, and when a copy's turn comes.
bool pinned(const void* p) {
  cudaPointerAttributes attributes;
  if (cudaPointerGetAttributes(&attributes, p) == cudaSuccess) return attributes.type == cudaMemoryTypeHost;
  cudaGetLastError();
  return false;
}

}  // namespace

int device_count() { return Devices::get().count; }
std::string no_device_reason() { return Devices::get().reason; }

void check_device(Device device) {
  check_index(device);
  check_status(cudaSetDevice(device.index), "device");
  cudaFuncAttributes attributes;
  const cudaError_t status = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(&any_kernel));
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    cudaDeviceProp p;
    check_status(cudaGetDeviceProperties(&p, device.index), "device");
    fail("device",
         "{} ({}, compute capability {}.{}): this build has code for {} only; configure with "
         "-DATLAS_CUDA_ARCHS={}{}",
         device.str(), p.name, p.major, p.minor, ATLAS_CUDA_ARCHS_TEXT, p.major, p.minor);
  }
  check_status(status, "device");
}

std::string describe_device(Device device) {
  check_index(device);
  cudaDeviceProp p;
  check_status(cudaGetDeviceProperties(&p, device.index), "device");
  return fmt::format("{}, {} multiprocessors, {}, compute capability {}.{}", p.name, p.multiProcessorCount,
                     bytes_text(static_cast<int64_t>(p.totalGlobalMem)), p.major, p.minor);
}

std::string pci_address(Device device) {
  check_index(device);
  char text[32] = {};
  check_status(cudaDeviceGetPCIBusId(text, sizeof text, device.index), "device");
  return text;
}

DeviceBytes device_bytes(Device device) {
  check_index(device);
  stream(device);  // makes it the current one
  size_t free = 0, total = 0;
  check_status(cudaMemGetInfo(&free, &total), "device");
  return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

bool synchronous() {
#ifdef NDEBUG
  static const bool on = switched_on("ATLAS_CUDA_SYNC", false);
#else
  static const bool on = switched_on("ATLAS_CUDA_SYNC", true);
#endif
  return on;
}

void check_status(cudaError_t status, const char* op) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  const bool earlier = from_kernel(status) && !synchronous();
  fail(op, "CUDA: {} ({}){}", cudaGetErrorString(status), cudaGetErrorName(status),
       earlier ? " here or before; ATLAS_CUDA_SYNC=1 in the environment shows where" : "");
}

cudaStream_t stream(Device device) {
  static cudaStream_t streams[kMaxDevices] = {};
  static std::mutex mutex;
  check(device.is_cuda() && device.index >= 0 && device.index < kMaxDevices, "device", "{} is no CUDA device",
        device.str());
  check_status(cudaSetDevice(device.index), "device");
  last_used.store(device.index, std::memory_order_relaxed);
  const std::lock_guard lock(mutex);
  cudaStream_t& s = streams[device.index];
  if (s == nullptr) check_status(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "device");
  return s;
}

int last_device() { return last_used.load(std::memory_order_relaxed); }

void check_launch(Device device, const char* op) {
  check_status(cudaGetLastError(), op);
  if (!synchronous() || capturing()) return;
  const cudaStream_t s = stream(device);
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  check_status(cudaStreamIsCapturing(s, &capturing), op);
  if (capturing == cudaStreamCaptureStatusNone) wait_for(s, op);
}

void* DeviceMemory::take(int64_t size) {
  stream({DeviceType::cuda, index});  // makes the device current
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, static_cast<size_t>(size));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_status(status, "allocate");
  return p;
}
void DeviceMemory::give(void* p, int64_t) {
  stream({DeviceType::cuda, index});
  cudaFree(p);  // waits for the device; at exit it may be gone, with its memory
}
std::string DeviceMemory::shortage() const {
  const DeviceBytes bytes = device_bytes({DeviceType::cuda, index});
  return fmt::format(
      "cuda:{} has {} free of {} (try a smaller batch with more --accumulate, smaller images or bfloat16; nvidia-smi "
      "shows who else uses it)",
      index, bytes_text(bytes.free), bytes_text(bytes.total));
}
void DeviceMemory::mark_used(void*, int64_t, int64_t) {}

Fault* fault(Device device) {
  static Fault* faults[kMaxDevices] = {};
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  Fault*& f = faults[device.index];
  if (f == nullptr) {
    stream(device);
    void* p = nullptr;
    check_status(cudaHostAlloc(&p, sizeof(Fault), cudaHostAllocMapped | cudaHostAllocPortable), "device");
    f = new (p) Fault;
  }
  return f;
}

void copy_bytes(void* to, Device to_device, const void* from, Device from_device, int64_t bytes) {
  if (bytes <= 0) return;
  const auto size = static_cast<size_t>(bytes);
  if (!to_device.is_cuda() || !from_device.is_cuda()) check_not_capturing("copy");
  if (to_device.is_cuda() && from_device.is_cuda() && to_device != from_device) {
    // On the stream of the receiver, behind what the sender has queued; the sender goes on when it is done.
    const cudaStream_t sender = stream(from_device), receiver = stream(to_device);
    cudaEvent_t done = nullptr;
    check_status(cudaSetDevice(from_device.index), "copy");
    check_status(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), "copy");
    check_status(cudaEventRecord(done, sender), "copy");
    check_status(cudaStreamWaitEvent(receiver, done, 0), "copy");
    check_status(cudaEventDestroy(done), "copy");
    check_status(cudaSetDevice(to_device.index), "copy");
    check_status(cudaMemcpyPeerAsync(to, to_device.index, from, from_device.index, size, receiver), "copy");
    check_status(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), "copy");
    check_status(cudaEventRecord(done, receiver), "copy");
    check_status(cudaStreamWaitEvent(sender, done, 0), "copy");
    check_status(cudaEventDestroy(done), "copy");
    return;
  }
  const cudaStream_t s = stream(to_device.is_cuda() ? to_device : from_device);
  if (!to_device.is_cuda() && waiter() != nullptr) wait_for(s, "copy");  // the copy itself may wait
  check_status(cudaMemcpyAsync(to, from, size, cudaMemcpyDefault, s), "copy");
  if (!to_device.is_cuda()) {
    wait_for(s, "copy");
    raise_fault(from_device);
  } else if (!from_device.is_cuda() && pinned(from)) {
    // Its owner may fill it again, or hand it back to those who do, before the copy's turn: upload() is for that.
    wait_for(s, "copy");
  }
}

void fill_bytes(Device device, void* p, int value, int64_t bytes) {
  if (bytes <= 0) return;
  check_status(cudaMemsetAsync(p, value, static_cast<size_t>(bytes), stream(device)), "fill");
}

void synchronize(Device device) {
  check_not_capturing("synchronize");
  wait_for(stream(device), "synchronize");
  raise_fault(device);
}

}  // namespace atlas::inline ATLAS_ABI::cuda
