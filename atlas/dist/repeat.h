// Repeat: something done again and again while the caller is busy with something else.
// Not in atlas.h: include it by name.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::dist::detail {

/// Calls something from a thread of its own, at once and then every `period` seconds, until it is destroyed.
class Repeat {
 public:
  /// @param what  is told the seconds since the start; false: not again
  Repeat(double period, std::function<bool(double)> what)
      : thread_([this, period, what = std::move(what)] { run(period, what); }) {}
  ~Repeat() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Repeat(const Repeat&) = delete;
  Repeat& operator=(const Repeat&) = delete;

 private:
  void run(double period, const std::function<bool(double)>& what) {
    using Seconds = std::chrono::duration<double>;
    const auto start = std::chrono::steady_clock::now();
    std::unique_lock lock(mutex_);
    while (!over_ && what(Seconds(std::chrono::steady_clock::now() - start).count()))
      changed_.wait_for(lock, Seconds(period), [&] { return over_; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;  // the last: it uses the others
};

}  // namespace atlas::inline ATLAS_ABI::dist::detail
