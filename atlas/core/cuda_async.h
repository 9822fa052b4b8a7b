// What a host does beside a CUDA device instead of waiting for it: pinned memory, uploads on a stream of their own, and
// marks in the queues of work; and what it does while it waits. Bodies: atlas/cuda/async.cu; this header needs no
// toolkit. Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "atlas/core/config.h"
#include "atlas/core/device.h"

namespace atlas::inline ATLAS_ABI::cuda {

/// Host memory that a device copies from and to without the host's help. Blocks are cached: the system is asked once.
/// @throws Error when the system has no more.
void* allocate_pinned(int64_t bytes);
void deallocate_pinned(void* p, int64_t bytes);

/// The queues of a device: computing (all kernels and copies, one after the other), and beside it uploads, and sums
/// over processes.
enum class Queue : uint8_t { compute, upload, reduce };

/// The queue as CUDA has it, a cudaStream_t, for a library that puts work of its own there. Makes the device current.
void* stream_of(Device device, Queue queue);

/// Calls `what` again and again, with the seconds so far, whenever the calling thread waits for a device from now on: a
/// device may itself wait for other processes, for ever when one of them is gone. It may throw, which ends the wait.
/// One for the process; empty: waits are left to CUDA.
void while_waiting(std::function<void(double seconds)> what);

/// A mark in a queue. Not recorded yet, it counts as passed.
class Event {
 public:
  /// @param timed  seconds_between() needs such; others are cheaper. Where a graph is recorded, they are no marks for
  ///               hold(): each replay records them again
  explicit Event(Device device, bool timed = false);
  ~Event();
  Event(Event&& o) noexcept : device_(o.device_), timed_(o.timed_), handle_(std::exchange(o.handle_, nullptr)) {}
  Event& operator=(Event&& o) noexcept {
    std::swap(device_, o.device_);
    std::swap(timed_, o.timed_);
    std::swap(handle_, o.handle_);
    return *this;
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// False for what was moved from.
  bool valid() const { return handle_ != nullptr; }
  /// Puts the mark behind everything queued so far.
  void record(Queue queue = Queue::compute);
  /// What is queued from now on waits, on the device, for the mark.
  void hold(Queue queue) const;
  /// The host waits for the mark. @throws Error with CUDA's text when work before it failed.
  void wait() const;
  /// Seconds of the device between two marks that have passed, both timed. Not a number where one was not recorded.
  static double seconds_between(const Event& from, const Event& to);

 private:
  Device device_;
  bool timed_ = false;
  void* handle_ = nullptr;
};

/// Copies pinned host memory to the device in the upload queue, and returns at once. The host memory stays as it is
/// until a mark recorded there has passed; kernels that read the copy have to be held back by one.
void upload(Device device, void* to, const void* pinned, int64_t bytes);

#if !ATLAS_WITH_CUDA  // nobody has such a device: these are never reached
inline void* allocate_pinned(int64_t) { fail_no_cuda("allocate_pinned"); }
inline void deallocate_pinned(void*, int64_t) {}
inline void* stream_of(Device, Queue) { fail_no_cuda("stream_of"); }
inline void while_waiting(std::function<void(double)>) {}
inline Event::Event(Device, bool) { fail_no_cuda("event"); }
inline Event::~Event() = default;
inline void Event::record(Queue) {}
inline void Event::hold(Queue) const {}
inline void Event::wait() const {}
inline double Event::seconds_between(const Event&, const Event&) { return 0; }
inline void upload(Device, void*, const void*, int64_t) { fail_no_cuda("upload"); }
#endif

}  // namespace atlas::inline ATLAS_ABI::cuda
