// Busy: what a rank that works alone for long tells the others meanwhile.
// Not in atlas.h: include it by name.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "atlas/dist/patience.h"
#include "atlas/dist/repeat.h"

namespace atlas::inline ATLAS_ABI::dist::detail {

/// Says again and again, from a thread of its own, that this rank is at work: within begin(), outside of operations,
/// in which it waits for others and says that itself. The thread starts with the first begin(), which costs next to
/// nothing from then on.
class Busy {
 public:
  /// @param beat     seconds between two calls of tell
  /// @param longest  seconds after which it is silent: what takes longer hangs
  Busy(double beat, double longest, std::function<void()> tell)
      : beat_(beat), longest_(longest), tell_(std::move(tell)) {}

  /// While what it returns lives, this rank is at work.
  std::shared_ptr<void> begin() {
    change([this] {
      if (depth_++ == 0) since_ = Clock::now();
    });
    if (!thread_)
      thread_.emplace(beat_, [this](double) {
        const std::lock_guard lock(mutex_);
        if (depth_ > 0 && !waits_ && seconds_since(since_) < longest_) tell_();
        return true;
      });
    return {nullptr, [this](void*) { change([this] { --depth_; }); }};
  }
  /// An operation begins.
  void waits() {
    change([this] { waits_ = true; });
  }
  /// It is over.
  void goes_on() {
    change([this] {
      waits_ = false;
      since_ = Clock::now();
    });
  }
  /// Ends the thread.
  void stop() { thread_.reset(); }

 private:
  template <class F>
  void change(const F& how) {
    const std::lock_guard lock(mutex_);
    how();
  }

  double beat_, longest_;  // seconds
  std::function<void()> tell_;
  std::mutex mutex_;
  int depth_ = 0;
  bool waits_ = false;
  Clock::time_point since_{};     // this rank is at work
  std::optional<Repeat> thread_;  // the last: it uses the others
};

}  // namespace atlas::inline ATLAS_ABI::dist::detail
