// The transport of tensors on CUDA devices: the only file that includes nccl.h. Without NCCL (CMake: ATLAS_NCCL)
// tensors of several processes stay on the CPU.
//
// NCCL puts kernels into the queues of a device, which wait there for those of the other ranks; the host goes on. What
// is waited for by the next kernel runs in the queue that computes, and what runs beside it in one of its own, held
// together by events; a CUDA graph records both. Where the host waits for the device it watches what NCCL says.
//
// An error of NCCL ends the process, as MPI's watchdog does. Nothing is aborted before: ncclCommAbort() waits until no
// graph holds the communicator, and unwinding waits for a device that waits for ever.
#include "atlas/dist/group.h"

#ifdef ATLAS_COMPILED_LIB

#include <memory>

#if ATLAS_WITH_NCCL && ATLAS_WITH_CUDA
#include <fmt/core.h>
#include <nccl.h>

#include <algorithm>
#include <string>
#include <utility>

#include "atlas/core/cuda_async.h"
#include "atlas/dist/device_waits.h"
#endif

namespace atlas::inline ATLAS_ABI::dist::detail {

#if ATLAS_WITH_NCCL && ATLAS_WITH_CUDA

namespace {

ncclDataType_t type_of(DType dtype) {
  return dtype == float32 ? ncclFloat32 : dtype == float64 ? ncclFloat64 : dtype == bfloat16 ? ncclBfloat16 : ncclInt64;
}

ncclRedOp_t operation(Reduce how) { return how == Reduce::sum ? ncclSum : how == Reduce::max ? ncclMax : ncclMin; }

/// A sum in the queue beside the one that computes.
class Queued final : public Running {
 public:
  Queued(DeviceWaits& waits, cuda::Event done) : waits_(waits), done_(std::move(done)) {}
  bool test() override { return true; }  // nothing of the host is needed
  void wait() override {
    waits_.around([&] { done_.hold(cuda::Queue::compute); });
  }

 private:
  DeviceWaits& waits_;
  cuda::Event done_;
};

/// Lives as long as the process: communicators are left to its end, where the other ranks may be gone already.
class Nccl final : public Transport {
 public:
  Nccl(Device on, Transport& host) : host_(host), waits_(on) {
    rank = host.rank;
    size = host.size;
    local_rank = host.local_rank;
    local_size = host.local_size;
    device = on;
    cuda::stream_of(device, cuda::Queue::compute);  // makes the device current
    for (ncclComm_t* const comm : {&comm_, &background_}) {
      ncclUniqueId id{};
      if (rank == 0) check_code(ncclGetUniqueId(&id), "start");
      host.broadcast(&id, static_cast<int64_t>(sizeof id), 0);
      host.barrier();                                    // names the one that does not come
      std::shared_ptr<void> watch = host.watch_start();  // NCCL would wait for a rank without an end
      const ncclResult_t code = ncclCommInitRank(comm, size, id, rank);
      watch.reset();  // before this thread uses MPI
      check_code(code, "start");
    }
    cuda::while_waiting([this](double seconds) { watch(seconds); });
  }
  ~Nccl() override { cuda::while_waiting({}); }
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;

  void all_reduce(void* data, int64_t count, DType dtype, Reduce how) override {
    run("all_reduce", [&](cudaStream_t stream) {
      return ncclAllReduce(data, data, static_cast<size_t>(count), type_of(dtype), operation(how), comm_, stream);
    });
  }

  std::unique_ptr<Running> start_all_reduce(void* data, int64_t count, DType dtype) override {
    op_ = "all_reduce";
    cuda::Event ready(device), done(device);
    ready.record(cuda::Queue::compute);
    ready.hold(cuda::Queue::reduce);
    check_code(ncclAllReduce(data, data, static_cast<size_t>(count), type_of(dtype), ncclSum, background_,
                             queue(cuda::Queue::reduce)),
               op_);
    done.record(cuda::Queue::reduce);
    return std::make_unique<Queued>(waits_, std::move(done));
  }

  void reduce_scatter(const void* from, void* to, int64_t count, DType dtype) override {
    run("reduce_scatter", [&](cudaStream_t stream) {
      return ncclReduceScatter(from, to, static_cast<size_t>(count), type_of(dtype), ncclSum, comm_, stream);
    });
  }

  void all_gather(const void* from, void* to, int64_t bytes) override {
    run("all_gather", [&](cudaStream_t stream) {
      return ncclAllGather(from, to, static_cast<size_t>(bytes), ncclUint8, comm_, stream);
    });
  }

  void broadcast(void* data, int64_t bytes, int root) override {
    run("broadcast", [&](cudaStream_t stream) {
      return ncclBroadcast(data, data, static_cast<size_t>(bytes), ncclUint8, root, comm_, stream);
    });
  }

  void barrier() override { host_.barrier(); }
  void collect() override { waits_.collect(host_.waits); }

 private:
  cudaStream_t queue(cuda::Queue which) const { return static_cast<cudaStream_t>(cuda::stream_of(device, which)); }

  /// What the next kernel needs: the device waits for it.
  template <class F>
  void run(const char* op, const F& start) {
    op_ = op;
    waits_.around([&] { check_code(start(queue(cuda::Queue::compute)), op); });
  }

  void check_code(ncclResult_t code, const char* op) {
    if (code != ncclSuccess && code != ncclInProgress) give_up(code, op);
  }

  /// Called while the host waits for the device.
  void watch(double seconds) {
    for (const ncclComm_t comm : {comm_, background_}) {
      ncclResult_t state = ncclSuccess;
      check_code(ncclCommGetAsyncError(comm, &state), op_);
      check_code(state, op_);
    }
    host_.keep_waiting(seconds, op_);
  }

  void give_up(ncclResult_t code, const char* op) {
    const char* const last = ncclGetLastError(comm_);
    std::string more = last != nullptr ? last : "";
    std::replace(more.begin(), more.end(), '\n', ' ');
    host_.end_all(fmt::format("[{}] rank {} of {}: NCCL: {}{}", op, rank, size, ncclGetErrorString(code),
                              more.empty() ? "" : " (" + more + ")"));
  }

  Transport& host_;
  DeviceWaits waits_;
  // What runs beside computing has a communicator of its own, for the same reason as with MPI: its order among the
  // other operations may differ from rank to rank.
  ncclComm_t comm_ = nullptr, background_ = nullptr;
  const char* op_ = "nccl";  // the operation that began last
};

}  // namespace

std::shared_ptr<Transport> nccl_transport(Device device, Transport& host) {
  return std::make_shared<Nccl>(device, host);
}

#else

std::shared_ptr<Transport> nccl_transport(Device device, Transport& host) {
  fail("dist",
       "{} processes on {} need NCCL, which this build lacks: apt install libnccl-dev (from NVIDIA), or pip download "
       "nvidia-nccl-cu13 unpacked into a folder of CMAKE_PREFIX_PATH, then run cmake and build again; or --device cpu",
       host.size, device.str());
}

#endif

}  // namespace atlas::inline ATLAS_ABI::dist::detail

#endif
