// Group: the processes that train together. One process alone, or those that mpirun (or srun) started: CPU tensors
// travel over MPI, those of CUDA devices over NCCL.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atlas/dist/waits.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::dist {

/// How all_reduce() joins the values of several processes.
enum class Reduce : uint8_t { sum, max, min };

namespace detail {

/// An operation that runs while the caller does something else.
class Running {
 public:
  virtual ~Running() = default;
  virtual bool test() = 0;  ///< gives it time; true once it is complete
  virtual void wait() = 0;
};

/// What carries the operations: a process alone, MPI, or NCCL. Sizes and types were checked by Group.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void all_reduce(void* data, int64_t count, DType dtype, Reduce how) = 0;
  virtual std::unique_ptr<Running> start_all_reduce(void* data, int64_t count, DType dtype) = 0;
  virtual void reduce_scatter(const void* from, void* to, int64_t count, DType dtype) = 0;
  virtual void all_gather(const void* from, void* to, int64_t bytes) = 0;
  virtual void broadcast(void* data, int64_t bytes, int root) = 0;
  virtual void barrier() = 0;

  /// Asked again and again by what waits for others without being told of them: says that this rank waits, and ends
  /// all processes when it has waited for too long.
  virtual void keep_waiting(double /*seconds*/, const char* /*op*/) {}
  /// While what it returns lives, another thread does that. For the start of a library, in which all ranks wait for
  /// each other: a silent one ends it as always, all together may take as long as one that is busy. Null where MPI lets
  /// only one thread use it.
  virtual std::shared_ptr<void> watch_start() { return nullptr; }
  /// Ends all processes with one line, of one of the ranks that have something to say.
  [[noreturn]] ATLAS_INLINE virtual void end_all(const std::string& line);
  /// Group::busy().
  virtual std::shared_ptr<void> busy() { return nullptr; }
  /// Adds to the waits of the host's transport what a device has waited.
  virtual void collect() {}

  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  Waits waits{};                           // for other ranks
  Device device{};                         // of the tensors that it carries
  std::shared_ptr<Transport> of_device{};  // that of tensors on a device, between the same processes; from the first on
};

/// How many processes the launcher (mpirun, mpiexec, srun) says it started; 1 without one.
int64_t launched_processes();

/// Keeps the memory of a tensor until the process ends.
void keep_for_good(const Tensor& x);

/// The transport between the processes that MPI started; null when this process was started alone.
std::shared_ptr<Transport> mpi_transport();

/// The transport of tensors on a device between the processes of `host`, which all call this; it must not outlive host.
/// @throws Error when this build has no NCCL: names the package to install.
std::shared_ptr<Transport> nccl_transport(Device device, Transport& host);

}  // namespace detail

/// An all_reduce on its way. Its tensor must not be touched before wait() has returned; on a device, what is queued
/// from then on finds the sum, and the host does not wait.
class PendingReduce {
 public:
  PendingReduce() = default;
  PendingReduce(Tensor tensor, std::unique_ptr<detail::Running> running)
      : tensor_(std::move(tensor)), running_(std::move(running)) {}
  PendingReduce(PendingReduce&&) noexcept = default;
  PendingReduce& operator=(PendingReduce&&) noexcept = default;
  /// One that nobody waits for (an error is on its way) leaves its memory to MPI or NCCL.
  ~PendingReduce() {
    if (running_ != nullptr) detail::keep_for_good(tensor_);
  }
  /// Gives it time to proceed (MPI works while it is called). @return true once it is complete, or needs no more time
  bool test() { return running_ == nullptr || running_->test(); }
  /// Returns when the tensor holds the sum. @throws Failure as Group's operations.
  void wait() {
    if (running_ != nullptr) running_->wait();
    running_.reset();
  }

 private:
  Tensor tensor_;  // keeps the memory
  std::unique_ptr<detail::Running> running_;
};

/// The processes that work together, seen from one of them.
///
///     const dist::Group group = dist::Group::world();
///     group.all_reduce(loss_sum);                       // the same number on every rank
///
/// An operation is called by all ranks, in the same order, with tensors of one shape and dtype. Tensors are float32,
/// float64, bfloat16 or int64, and contiguous. all_reduce() and start_all_reduce() give the same bits on every rank:
/// MPI requires that of an all-reduce, and NCCL makes each sum in one place. Sums of bfloat16 are rounded to it at
/// every addition.
///
/// Tensors on a CUDA device are carried by NCCL, in the order of the device's work: the host does not wait, and a CUDA
/// graph may record it. A process has one device, and every rank its own.
///
/// A rank that ends with an error ends all. So does one that lets the others wait for 50 seconds
/// (`ATLAS_DIST_TIMEOUT`: other seconds; inf: for ever) and gives no sign meanwhile: all have ended within a minute,
/// with one line that names it. One that is at the end of its process, where ranks wait for each other as well, has
/// left the operations of the others. The start of the processes is waited for as long, at least 15 seconds. One thread
/// of a process uses groups.
class Group {
 public:
  /// This process alone: every operation returns at once.
  Group();
  /// All processes that mpirun or srun started; this one alone where nobody did.
  /// @throws Error when several were started and this build has no MPI: names the package to install.
  static Group world();

  int rank() const { return transport_->rank; }              ///< of this process, in [0, size)
  int size() const { return transport_->size; }              ///< processes
  int local_rank() const { return transport_->local_rank; }  ///< among the processes on this machine
  int local_size() const { return transport_->local_size; }  ///< processes on this machine
  bool first() const { return rank() == 0; }                 ///< the one that writes and prints
  /// Seconds that this process has spent in operations so far, mostly waiting for others: its host and its device, once
  /// where both did. A device is waited for; it notes some thousand operations from one call to the next.
  double waited() const {
    if (transport_->of_device != nullptr) transport_->of_device->collect();
    return transport_->waits.total();
  }

  /// Makes the group ready for tensors on `device`, where it is a CUDA device; otherwise the first of them does, which
  /// a CUDA graph cannot record. All ranks call it. @throws Error when this build has no NCCL, naming the package.
  void use(Device device) const;
  /// x becomes the sum (largest, smallest) of every rank's x, element by element.
  /// @throws Error for a tensor that cannot be sent; Failure, with rank, operation and MPI's text, when MPI reports an
  ///         error. One of NCCL, here or where a device is waited for later, is said the same way and ends all.
  void all_reduce(Tensor x, Reduce how = Reduce::sum) const;
  /// The same sum, computed while the caller goes on.
  PendingReduce start_all_reduce(Tensor x) const;
  /// This rank's part of the sum over ranks.   x: [size n, ...] -> [n, ...]: rows rank n to (rank + 1) n
  /// @throws Error also for a first axis that size does not divide.
  Tensor reduce_scatter(const Tensor& x) const;
  /// Every rank's x below each other.   x: [n, ...] -> [size n, ...]
  Tensor all_gather(const Tensor& x) const;
  /// Every rank's text.
  std::vector<std::string> all_gather(const std::string& text) const;
  /// x becomes that of rank `root`. Takes every dtype. @throws Error also for a root that is not in [0, size).
  void broadcast(Tensor x, int root = 0) const;
  /// text becomes that of rank `root`.
  void broadcast(std::string& text, int root = 0) const;
  /// True when any rank says so.
  bool any(bool here) const;
  /// Returns when all ranks have called it.
  void barrier() const;
  /// While what it returns lives, this rank tells the others that it is at work on what may take long, such as a file
  /// on a slow disk: their patience with it then begins anew. In operations it waits as always. A rank that dies or is
  /// stopped tells nothing; one that is busy for 20 times the patience (a quarter of an hour) without an operation is
  /// believed no longer. A Trainer calls its observers so. At the end of their processes ranks wait for each other as
  /// well: what one of them does alone before its end, such as an evaluation on rank 0, is work of this kind. Null, and
  /// nothing is told, for one process, and where the program called MPI_Init itself without MPI_THREAD_SERIALIZED
  /// (MPI_Init_thread).
  [[nodiscard]] std::shared_ptr<void> busy() const { return transport_->busy(); }

 private:
  explicit Group(std::shared_ptr<detail::Transport> transport) : transport_(std::move(transport)) {}
  void check_tensor(const Tensor& x, const char* op) const;
  detail::Transport& carrier(Device device) const;
  void check_root(int root) const;
  std::shared_ptr<detail::Transport> transport_;
};

/// A setting by name, as text.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// Checks that all ranks have the same settings, in the same order.
/// @param what  they are of, for the message: "the model"
/// @throws Error on every rank, naming the lowest rank that differs from rank 0, the first field in which it does, and
///         both values.
void check_agree(const Group& group, const std::string& what, const Settings& settings);

}  // namespace atlas::inline ATLAS_ABI::dist

#ifndef ATLAS_COMPILED_LIB
#include "atlas/dist/group-inl.h"
#endif
