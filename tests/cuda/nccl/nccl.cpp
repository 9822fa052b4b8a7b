// NCCL as the emulated device has it: every operation is one of the MPI transport. What the library would leave
// undefined or wait for without an end is an error here: another id, another operation, size or type than rank 0's,
// memory that is not the device's, a communicator in two queues.
#include "tests/cuda/nccl/nccl.h"

#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "atlas/core/cuda.h"
#include "atlas/core/cuda_async.h"
#include "atlas/dist/group.h"
#include "tests/cuda/emulate.h"

struct ncclComm {
  std::string id;
  cudaStream_t queue = nullptr;  // that it was first used in
};

namespace {

using namespace atlas;

constexpr Device kDevice{DeviceType::cuda, 0};

dist::detail::Transport& mpi() { return *dist::detail::mpi_transport(); }

/// Raises an error unless all ranks say the same.
void agree(const std::string& text) {
  char first[128] = {}, own[128] = {};
  text.copy(own, sizeof own - 1);
  std::memcpy(first, own, sizeof first);
  mpi().broadcast(first, sizeof first, 0);
  check(std::memcmp(first, own, sizeof own) == 0, "nccl", "emulation: rank {} is at '{}', rank 0 at '{}'", mpi().rank,
        own, first);
}

DType dtype_of(ncclDataType_t type) {
  return type == ncclFloat32    ? float32
         : type == ncclFloat64  ? float64
         : type == ncclBfloat16 ? bfloat16
         : type == ncclUint8    ? uint8
                                : int64;
}
dist::Reduce reduce_of(ncclRedOp_t op) {
  return op == ncclSum ? dist::Reduce::sum : op == ncclMax ? dist::Reduce::max : dist::Reduce::min;
}

/// Does what turns `from_bytes` bytes at `from` into `to_bytes` at `to`, now or in every replay.
ncclResult_t work(const std::string& what, ncclComm_t comm, cudaStream_t stream, const void* from, size_t from_bytes,
                  void* to, size_t to_bytes, const std::function<void(char* from, char* to)>& travel) {
  emulate::NcclPlay& play = emulate::nccl();
  if (play.next != ncclSuccess) return std::exchange(play.next, ncclSuccess);
  if (comm == nullptr) return ncclInvalidArgument;
  if (comm->queue == nullptr) comm->queue = stream;
  check(comm->queue == stream, "nccl", "emulation: a communicator is used in two queues");
  const bool beside = stream == cuda::stream_of(kDevice, cuda::Queue::reduce);
  const bool recorded = emulate::recording();
  const auto run = [=] {
    // A host knows nothing of what its device waits for.
    const dist::detail::Waits of_host = mpi().waits;
    agree(comm->id + ": " + what);
    std::vector<char> in(from_bytes), out(to_bytes);
    if (recorded) {  // what replays use belongs to nobody
      const emulate::Access access("nccl");
      std::memcpy(in.data(), from, from_bytes);
    } else {
      cuda::copy_bytes(in.data(), Device{}, from, kDevice, static_cast<int64_t>(from_bytes));
    }
    travel(in.data(), out.data());
    if (recorded) {
      const emulate::Access access("nccl");
      std::memcpy(to, out.data(), to_bytes);
    } else {
      cuda::copy_bytes(to, kDevice, out.data(), Device{}, static_cast<int64_t>(to_bytes));
    }
    mpi().waits = of_host;
    ++emulate::nccl().operations;
    if (beside) ++emulate::nccl().beside;
  };
  if (recorded)
    emulate::record(run);
  else
    run();
  return ncclSuccess;
}

}  // namespace

emulate::NcclPlay& emulate::nccl() {
  static NcclPlay play;
  return play;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static int made = 0;
  std::memset(id, 0, sizeof *id);
  std::snprintf(id->internal, sizeof id->internal, "id %d", ++made);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank) {
  if (ranks != mpi().size || rank != mpi().rank || id.internal[0] == '\0') return ncclInvalidArgument;
  // Nothing of MPI here, which the thread that watches the start may be using.
  if (emulate::nccl().stopped_at_start == rank) raise(SIGSTOP);
  if (emulate::nccl().stopped_at_start >= 0) pause();
  sleep(emulate::nccl().start_takes);
  *comm = new ncclComm{id.internal};
  return emulate::nccl().start;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* state) {
  *state = emulate::nccl().state;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t code) {
  return code == ncclRemoteError       ? "remote process exited or there was a network error"
         : code == ncclSystemError     ? "unhandled system error (run with NCCL_DEBUG=INFO for details)"
         : code == ncclInvalidArgument ? "invalid argument (run with NCCL_DEBUG=WARN for details)"
                                       : "unknown result code";
}

const char* ncclGetLastError(ncclComm_t) { return emulate::nccl().last_error; }

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  const DType dtype = dtype_of(type);
  const size_t bytes = count * static_cast<size_t>(item_size(dtype));
  return work(fmt::format("all_reduce {} {} {}", count, name(dtype), static_cast<int>(op)), comm, stream, from, bytes,
              to, bytes, [=](char* in, char* out) {
                mpi().all_reduce(in, static_cast<int64_t>(count), dtype, reduce_of(op));
                std::memcpy(out, in, bytes);
              });
}

ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
  if (op != ncclSum) return ncclInvalidArgument;
  const DType dtype = dtype_of(type);
  const size_t bytes = count * static_cast<size_t>(item_size(dtype));
  return work(fmt::format("reduce_scatter {} {}", count, name(dtype)), comm, stream, from,
              bytes * static_cast<size_t>(mpi().size), to, bytes,
              [=](char* in, char* out) { mpi().reduce_scatter(in, out, static_cast<int64_t>(count), dtype); });
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  const size_t bytes = count * static_cast<size_t>(item_size(dtype_of(type)));
  return work(fmt::format("all_gather {}", bytes), comm, stream, from, bytes, to,
              bytes * static_cast<size_t>(mpi().size),
              [=](char* in, char* out) { mpi().all_gather(in, out, static_cast<int64_t>(bytes)); });
}

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  const size_t bytes = count * static_cast<size_t>(item_size(dtype_of(type)));
  return work(fmt::format("broadcast {} from {}", bytes, root), comm, stream, from, bytes, to, bytes,
              [=](char* in, char* out) {
                mpi().broadcast(in, static_cast<int64_t>(bytes), root);
                std::memcpy(out, in, bytes);
              });
}
