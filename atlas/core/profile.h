// A profile of kernels: what ran where for how long, with how much arithmetic and traffic. Off, it costs a test of a
// flag per kernel. On CUDA devices, times are those of the device, from marks around each kernel that are read later.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "atlas/core/device.h"
#include "atlas/core/dtype.h"

namespace atlas::inline ATLAS_ABI {

/// One kernel that ran.
struct ProfileRecord {
  const char* op;     ///< such as "matmul"
  std::string layer;  ///< path of the module that asked for it ("levels.2.blocks.0.mlp"); "" outside of modules
  double start = 0, time = 0;  ///< seconds since the profile started, and taken
  double flops = 0;            ///< floating-point operations of the plain formula (a multiply-add is two)
  double bytes = 0;            ///< of the tensors read and written, each once
  uint64_t thread = 0;         ///< 0, 1, ... in the order of their first kernel; devices count from kDeviceThread
  static constexpr uint64_t kDeviceThread = 1000;
};

namespace detail {

/// Whether kernels are recorded; ATLAS_PROFILE in the environment switches it on.
std::atomic<bool>& profile_flag();
/// The module that runs on this thread, by path.
std::string& profile_layer();

}  // namespace detail

/// Whether kernels are recorded.
inline bool profiling() { return detail::profile_flag().load(std::memory_order_relaxed); }
/// Starts a new profile, forgetting what was recorded.
void start_profile();
/// Stops recording. What was recorded stays until the next start.
inline void stop_profile() { detail::profile_flag() = false; }
/// What was recorded, in the order in which kernels ended.
std::vector<ProfileRecord> profile_records();

/// Calls f with each tensor that an argument of a kernel holds. Most types hold none; those that do have an overload
/// beside them (Tensor, KeyValue, ScanTensors, ...).
template <class T, class F>
void for_each_operand(const T&, const F&) {}

/// Records the kernel that runs while it lives, when profiling is on.
///
/// Example: `const ProfileScope profile("matmul", 2.0 * m * n * k, a, b, c);` with the tensors that are read and
/// written; other arguments do not count.
class ProfileScope {
 public:
  template <class... Args>
  ProfileScope(const char* op, double flops, const Args&... args) {
    if (!profiling()) [[likely]]
      return;
    double bytes = 0;
    Device device;
    (for_each_operand(args, [&](const auto& t) { look(t, bytes, device); }), ...);
    start(op, flops, bytes, device);
  }
  ~ProfileScope() {
    if (running_ != nullptr) [[unlikely]]
      stop();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  struct Running;  // the record, and on a device the mark before the kernel
  template <class T>
  static void look(const T& t, double& bytes, Device& device) {
    if (!t.defined()) return;
    bytes += static_cast<double>(t.numel() * item_size(t.dtype()));
    if (t.device().is_cuda()) device = t.device();
  }
  void start(const char* op, double flops, double bytes, Device device);
  void stop();

  Running* running_ = nullptr;
};

/// Sums of the records with the same key, most time first.
struct ProfileSum {
  std::string key;
  int64_t calls = 0;
  double time = 0, flops = 0, bytes = 0;
};
/// @param key  of a record: its op, its layer, ...
std::vector<ProfileSum> profile_sums(const std::function<std::string(const ProfileRecord&)>& key);

/// Two tables, by op and by layer: calls, time, share of the time in kernels, GFLOP/s and GB/s.
/// @param rows  most rows of each; the rest is one row
std::string profile_table(size_t rows = 24);

/// Writes the records as a trace that chrome://tracing and ui.perfetto.dev show.
/// @throws Error when the file cannot be written.
void write_profile_trace(const std::string& path);

/// What --profile does: records from now on, and reports at the end of the program.
/// @param trace  file for the trace; a program that cannot write it at its end exits with status 1
/// @throws Error when the file cannot be written, before anything is recorded.
void profile_program(const std::string& trace);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/core/profile-inl.h"
#endif
