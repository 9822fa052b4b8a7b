// Deadline: the end of a process that a call keeps for too long.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "atlas/dist/repeat.h"

namespace atlas::inline ATLAS_ABI::dist::detail {

/// While it lives: ends this process after so many seconds with that line. For calls of MPI that wait for all ranks by
/// themselves. Of several ranks the lowest is the first; the launcher then ends the others.
class Deadline {
 public:
  Deadline(double seconds, int rank, const std::string& line)
      : repeat_(0.1, [last = seconds + 0.5 * std::min(rank, 10), line](double now) {
          if (now < last) return true;
          std::fprintf(stderr, "%s: all processes are ended (ATLAS_DIST_TIMEOUT sets the seconds)\n", line.c_str());
          std::fflush(nullptr);
          std::_Exit(1);
        }) {}

 private:
  Repeat repeat_;
};

}  // namespace atlas::inline ATLAS_ABI::dist::detail
