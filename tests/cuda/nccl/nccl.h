// What atlas/dist/nccl.cpp needs of NCCL, by the same names, played for the emulated device by nccl.cpp beside it. Work
// travels over MPI and is done at once, or when a recording is replayed.
//
// ncclCommAbort is missing for a reason: it waits until every graph that recorded work of the communicator is gone,
// which belongs to whoever called, and two communicators aborted one after the other wait for each other's kernels.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;
using cudaStream_t = CUstream_st*;
struct ncclComm;
using ncclComm_t = ncclComm*;
struct ncclUniqueId {
  char internal[128];
};

enum ncclResult_t {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclSystemError = 2,
  ncclInvalidArgument = 4,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7
};
enum ncclDataType_t { ncclUint8 = 1, ncclInt64 = 4, ncclFloat32 = 7, ncclFloat64 = 8, ncclBfloat16 = 9 };
enum ncclRedOp_t { ncclSum = 0, ncclMax = 2, ncclMin = 3 };

ncclResult_t ncclGetUniqueId(ncclUniqueId* id);
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state);
const char* ncclGetErrorString(ncclResult_t code);
const char* ncclGetLastError(ncclComm_t comm);
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream);
ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream);

namespace emulate {

/// What tests make of it.
struct NcclPlay {
  ncclResult_t next = ncclSuccess;   ///< what the next operation answers instead of working
  ncclResult_t state = ncclSuccess;  ///< of the communicators: what went wrong behind the host's back
  const char* last_error = "";
  int stopped_at_start = -1;           ///< the rank whose process is stopped in ncclCommInitRank; -1: none
  unsigned start_takes = 0;            ///< seconds that ncclCommInitRank takes
  ncclResult_t start = ncclSuccess;    ///< what it answers
  int64_t operations = 0, beside = 0;  ///< done so far; of them, beside computing
};
NcclPlay& nccl();

}  // namespace emulate
