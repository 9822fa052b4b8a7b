// Patience: what a rank knows of the others while it waits for them, from what they tell.
// Not in atlas.h: include it by name.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::dist::detail {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Seconds that a rank may let the others wait. Together with what comes after them, less than a minute.
inline double timeout() {
  const char* const text = std::getenv("ATLAS_DIST_TIMEOUT");
  if (text == nullptr) return 50;
  char* end = nullptr;
  const double seconds = std::strtod(text, &end);
  check(end != text && *end == '\0' && seconds > 0, "dist", "ATLAS_DIST_TIMEOUT needs a number of seconds, got '{}'",
        text);
  return seconds;
}

constexpr double kBusyFor = 20;  // times the timeout: what is busy for longer hangs

/// What a rank tells the others from time to time.
enum Notice : int {
  kWaits,  ///< in an operation
  kBusy,   ///< with work that takes long
  kAtEnd,  ///< it waits at the end of its process, and takes part in no operation any more
  kEnds    ///< it is about to end all
};

/// When the others told something last, and what follows from it. Not for two threads at once.
class Patience {
 public:
  /// @param timeout  seconds that a rank may let the others wait
  Patience(int rank, int size, double timeout)
      : rank_(rank), timeout_(timeout), others_(static_cast<size_t>(size)), speaker_(size) {}

  void hear(int other, Notice what) {
    Other& o = others_[static_cast<size_t>(other)];
    o.at_end = what == kAtEnd;
    (o.at_end ? o.heard_at_end : o.heard) = Clock::now();
    if (what == kBusy) busy_ = Clock::now();
    if (what == kWaits) waits_ = Clock::now();
    if (what == kEnds) speaker_ = std::min(speaker_, other);
  }

  /// Who is waited for in vain, as "8 s for rank 1, 2": a rank that has been silent for the timeout, and the others
  /// that are silent, too; or a remark that all wait. Empty: nobody.
  /// @param seconds  that this rank has waited
  /// @param at_end   it waits at the end of its process. Elsewhere a rank that is there has gone
  /// @param for_all  seconds after which all wait for nothing
  std::string in_vain(double seconds, bool at_end, double for_all) const {
    double longest = 0;
    std::string silent;
    for (int other = 0; other < static_cast<int>(others_.size()); ++other) {
      const Other& o = others_[static_cast<size_t>(other)];
      if (other == rank_) continue;
      const double since = std::min(seconds, seconds_since(at_end ? std::max(o.heard, o.heard_at_end) : o.heard));
      longest = std::max(longest, since);
      if (since > timeout_ / 2)
        silent += fmt::format("{}{}{}", silent.empty() ? "" : ", ", other, o.at_end ? " (at its end)" : "");
    }
    if (longest >= timeout_) return fmt::format("{} s for rank {}", timeout_, silent);
    // Who waits in an operation for one that is at its end has patience of its own.
    const double all = std::min(seconds, seconds_since(at_end ? std::max(busy_, waits_) : busy_));
    if (!silent.empty() || all < for_all) return {};
    return fmt::format("{} s for rank (all wait: do they call the same?)", for_all);
  }

  /// The lowest rank that is about to end all; the number of ranks: none.
  int speaker() const { return speaker_; }

 private:
  struct Other {
    Clock::time_point heard{}, heard_at_end{};
    bool at_end = false;
  };
  int rank_;
  double timeout_;
  std::vector<Other> others_;
  Clock::time_point busy_{}, waits_{};  // when any of them told so last
  int speaker_;
};

}  // namespace atlas::inline ATLAS_ABI::dist::detail
