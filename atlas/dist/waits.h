// Waits: how long a rank has waited for others.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::dist::detail {

/// The clock of waits, in seconds.
inline double clock_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The spans of time in which a rank waited. Its host and its device wait each for itself, and often at the same time,
/// which counts once.
class Waits {
 public:
  /// A wait, in seconds of the clock. What lies before the end of those that were added up already does not count.
  void add(double from, double to) {
    if (!(to > from)) return;
    spans_.push_back({from, to});
    if (spans_.size() >= kMost) add_up();
  }
  /// Seconds that all of them cover.
  double total() {
    add_up();
    return total_;
  }

 private:
  static constexpr size_t kMost = 1 << 16;  // where nobody asks for the total
  struct Span {
    double from, to;
  };
  void add_up() {
    std::sort(spans_.begin(), spans_.end(), [](const Span& a, const Span& b) { return a.from < b.from; });
    for (const Span& s : spans_) {
      total_ += std::max(0.0, s.to - std::max(s.from, end_));
      end_ = std::max(end_, s.to);
    }
    spans_.clear();
  }
  std::vector<Span> spans_;
  double total_ = 0, end_ = 0;  // of those that were added up
};

}  // namespace atlas::inline ATLAS_ABI::dist::detail
