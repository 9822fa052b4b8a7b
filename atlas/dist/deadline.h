// Deadline: the end of a process that a call keeps for too long.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "atlas/dist/repeat.h"

namespace atlas::inline ATLAS_ABI::dist::detail {

/// While it lives: ends this process after so many seconds with that line. For calls of MPI that wait for all ranks by
/// themselves. Of several ranks the lowest is the first; the launcher then ends the others. Seconds in which this
/// process was stopped do not count: then it is the one that the others waited for.
class Deadline {
 public:
  Deadline(double seconds, int rank, const std::string& line)
      : repeat_(kPeriod, [left = seconds + 0.5 * std::min(rank, 10), before = 0.0, line](double now) mutable {
          left -= std::min(now - std::exchange(before, now), 1.0);
          if (left > 0) return true;
          std::fprintf(stderr, "%s: all processes are ended (ATLAS_DIST_TIMEOUT sets the seconds)\n", line.c_str());
          std::fflush(nullptr);
          std::_Exit(1);
        }) {}

 private:
  static constexpr double kPeriod = 0.1;  // seconds; a busy machine makes them several
  Repeat repeat_;
};

}  // namespace atlas::inline ATLAS_ABI::dist::detail
