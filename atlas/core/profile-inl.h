// What a profile keeps, and how it is shown.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "atlas/core/cuda_async.h"
#include "atlas/core/output_file.h"
#include "atlas/core/profile.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

class ProfileState {
 public:
  static constexpr size_t kMost = 2'000'000;  // records; a profile of hours should not eat the machine

  static ProfileState& get() {
    static ProfileState* state = new ProfileState;  // never destroyed: kernels may run at exit
    return *state;
  }
  void add(ProfileRecord r) {
    const std::lock_guard lock(mutex_);
    if (records_.size() < kMost) records_.push_back(std::move(r));
  }
  /// A kernel on a device, between two marks that may not have passed yet.
  void add(ProfileRecord r, Device device, cuda::Event from, cuda::Event to) {
    // Where the program ends with a profile, marks are read before CUDA's library closes: what is registered after the
    // first use of CUDA runs before that.
    static const bool read_before_the_end = [] {
      return std::atexit([] {
               try {
                 get().records();
               } catch (const std::exception&) {  // the device is in error, which the program has been told
                 get().restart();
               }
             }) == 0;
    }();
    static_cast<void>(read_before_the_end);
    const std::lock_guard lock(mutex_);
    if (records_.size() + pending_.size() < kMost)
      pending_.push_back({std::move(r), device, std::move(from), std::move(to)});
    if (pending_.size() >= kMostPending) collect();
  }
  double now() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - origin_).count(); }
  void restart() {
    const std::lock_guard lock(mutex_);
    records_.clear();
    pending_.clear();
    origins_.clear();
    origin_ = std::chrono::steady_clock::now();
  }
  std::vector<ProfileRecord> records() {
    const std::lock_guard lock(mutex_);
    collect();
    return records_;
  }
  std::string at_exit;  // where the trace goes when the program ends

 private:
  static constexpr size_t kMostPending = 8192;  // marks are few: the device is waited for once in a while

  struct Pending {
    ProfileRecord record;
    Device device;
    cuda::Event from, to;
  };
  /// A mark whose time on the host's clock is known.
  struct Origin {
    double time;
    cuda::Event mark;
  };
  /// Waits for the kernels that are pending and reads their marks.
  void collect() {
    std::map<int, Origin> last;
    for (Pending& p : pending_) {
      p.to.wait();
      auto origin = origins_.find(p.device.index);
      if (origin == origins_.end())  // its first kernel started when the host launched it, as far as anybody knows
        origin = origins_.emplace(p.device.index, Origin{p.record.start, std::move(p.from)}).first;
      const cuda::Event& from = p.from.valid() ? p.from : origin->second.mark;
      p.record.start = origin->second.time + cuda::Event::seconds_between(origin->second.mark, from);
      p.record.time = cuda::Event::seconds_between(from, p.to);
      p.record.thread = ProfileRecord::kDeviceThread + static_cast<uint64_t>(p.device.index);
      const double end = p.record.start + p.record.time;
      records_.push_back(std::move(p.record));
      last.insert_or_assign(p.device.index, Origin{end, std::move(p.to)});
    }
    pending_.clear();
    // From near marks: CUDA gives differences in single precision.
    for (auto& [index, origin] : last) origins_.insert_or_assign(index, std::move(origin));
  }

  mutable std::mutex mutex_;
  std::vector<ProfileRecord> records_;
  std::vector<Pending> pending_;
  std::map<int, Origin> origins_;
  std::chrono::steady_clock::time_point origin_ = std::chrono::steady_clock::now();
};

void profile_at_exit(const std::string& trace);

inline uint64_t profile_thread() {
  static std::atomic<uint64_t> threads{0};
  thread_local const uint64_t mine = threads++;
  return mine;
}

}  // namespace detail

ATLAS_INLINE std::atomic<bool>& detail::profile_flag() {
  static std::atomic<bool> on = [] {
    const char* wanted = std::getenv("ATLAS_PROFILE");
    if (wanted == nullptr || *wanted == '\0' || std::string(wanted) == "0") return false;
    profile_at_exit(std::string(wanted) == "1" ? "atlas_profile.json" : wanted);
    return true;
  }();
  return on;
}

ATLAS_INLINE std::string& detail::profile_layer() {
  thread_local std::string layer;
  return layer;
}

ATLAS_INLINE void start_profile() {
  detail::ProfileState::get().restart();
  detail::profile_flag() = true;
}
ATLAS_INLINE std::vector<ProfileRecord> profile_records() { return detail::ProfileState::get().records(); }

struct ProfileScope::Running {
  ProfileRecord record{};
  Device device;
  std::optional<cuda::Event> from{};
};

ATLAS_INLINE void ProfileScope::start(const char* op, double flops, double bytes, Device device) {
  auto running = std::make_unique<Running>(Running{.device = device});
  running->record.op = op;
  running->record.flops = flops;
  running->record.bytes = bytes;
  running->record.start = detail::ProfileState::get().now();
  if constexpr (kWithCuda)
    if (device.is_cuda()) {
      running->from.emplace(device, true);
      running->from->record();
    }
  running_ = running.release();
}

ATLAS_INLINE void ProfileScope::stop() {
  const std::unique_ptr<Running> running(running_);
  ProfileRecord& record = running->record;
  record.time = detail::ProfileState::get().now() - record.start;
  record.layer = detail::profile_layer();
  if (running->from) {
    try {
      cuda::Event to(running->device, true);
      to.record();
      detail::ProfileState::get().add(std::move(record), running->device, std::move(*running->from), std::move(to));
    } catch (const Error&) {  // the kernel's own error is on its way
    }
    return;
  }
  record.thread = detail::profile_thread();
  detail::ProfileState::get().add(std::move(record));
}

ATLAS_INLINE std::vector<ProfileSum> profile_sums(const std::function<std::string(const ProfileRecord&)>& key) {
  std::map<std::string, ProfileSum> sums;
  for (const ProfileRecord& r : profile_records()) {
    ProfileSum& s = sums[key(r)];
    ++s.calls;
    s.time += r.time;
    s.flops += r.flops;
    s.bytes += r.bytes;
  }
  std::vector<ProfileSum> all;
  for (auto& [k, s] : sums) {
    s.key = k;
    all.push_back(s);
  }
  std::stable_sort(all.begin(), all.end(), [](const ProfileSum& a, const ProfileSum& b) { return a.time > b.time; });
  return all;
}

ATLAS_INLINE std::string profile_table(size_t rows) {
  std::string text;
  const auto table = [&](const char* title, const std::vector<ProfileSum>& sums) {
    double total = 0;
    for (const ProfileSum& s : sums) total += s.time;
    const auto line = [&](const ProfileSum& s) {
      const double time = std::max(s.time, 1e-12);
      text +=
          fmt::format("{:<44} {:>8} {:>10.2f} {:>6.1f} {:>9.1f} {:>8.1f}\n", s.key.empty() ? "-" : s.key, s.calls,
                      s.time * 1e3, 100 * s.time / std::max(total, 1e-12), s.flops / time / 1e9, s.bytes / time / 1e9);
    };
    text += fmt::format("{:<44} {:>8} {:>10} {:>6} {:>9} {:>8}\n", title, "calls", "ms", "%", "GFLOP/s", "GB/s");
    ProfileSum rest{.key = "others"}, all{.key = "all"};
    for (size_t i = 0; i < sums.size(); ++i) {
      if (i < rows) line(sums[i]);
      for (ProfileSum* to : {&all, &rest}) {
        if (to == &rest && i < rows) continue;
        to->calls += sums[i].calls;
        to->time += sums[i].time;
        to->flops += sums[i].flops;
        to->bytes += sums[i].bytes;
      }
    }
    if (rest.calls > 0) line(rest);
    line(all);
  };
  table("kernel", profile_sums([](const ProfileRecord& r) { return std::string(r.op); }));
  text += '\n';
  table("layer", profile_sums([](const ProfileRecord& r) { return r.layer; }));
  return text;
}

ATLAS_INLINE void write_profile_trace(const std::string& path) {
  std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  const char* comma = "";
  OutputFile out(path, "profile");
  for (const ProfileRecord& r : profile_records()) {  // names of ops and modules need no escapes
    text += comma;
    text += fmt::format(
        "\n{{\"name\":\"{}\",\"cat\":\"kernel\",\"ph\":\"X\",\"pid\":1,\"tid\":{},\"ts\":{:.3f},\"dur\":{:.3f},"
        "\"args\":{{\"layer\":\"{}\",\"GFLOP\":{:.6g},\"MB\":{:.6g}}}}}",
        r.op, r.thread, r.start * 1e6, r.time * 1e6, r.layer, r.flops / 1e9, r.bytes / 1e6);
    comma = ",";
    if (text.size() < size_t{1} << 16) continue;
    out.write(text.data(), text.size());
    text.clear();
  }
  text += "\n]}\n";
  out.write(text.data(), text.size());
  out.finish();
}

/// When the program ends, prints profile_table() to the standard error stream and writes the trace.
ATLAS_INLINE void detail::profile_at_exit(const std::string& trace) {
  ProfileState& state = ProfileState::get();
  const bool first = state.at_exit.empty();
  state.at_exit = trace;
  if (!first) return;
  std::atexit([] {
    const std::string path = ProfileState::get().at_exit;
    std::fputs(profile_table().c_str(), stderr);
    try {
      write_profile_trace(path);
      std::fprintf(stderr, "trace: %s (open it in chrome://tracing or ui.perfetto.dev)\n", path.c_str());
    } catch (const ReaderGone&) {
      std::_Exit(1);
    } catch (const std::exception& e) {
      // Too late for an exit status of main().
      std::fprintf(stderr, "%s\n", e.what());
      std::fflush(nullptr);
      std::_Exit(1);
    }
  });
}

ATLAS_INLINE void profile_program(const std::string& trace) {
  check_can_write(trace, "profile");
  detail::profile_at_exit(trace);
  start_profile();
}

}  // namespace atlas::inline ATLAS_ABI
