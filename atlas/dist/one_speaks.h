// Of several processes with the same to say, one says it.
// Not in atlas.h: include it by name.
#pragma once

#include <unistd.h>

#include <cstdio>

#include "atlas/core/program.h"
#include "atlas/dist/group.h"

namespace atlas::inline ATLAS_ABI::dist {

/// From here on, what run_program() says is said by rank 0: help always, and errors that all ranks have. An error that
/// rank 0 does not say within a second or two is this rank's alone, which says it with its number.
inline void one_speaks(const Group& group) {
  if (group.first()) return;
  static int rank = 0;
  rank = group.rank();
  atlas::detail::may_speak = [](bool error) {
    if (!error) return false;
    // Rank 0 ends all processes when it has spoken.
    ::usleep(static_cast<useconds_t>(1'000'000 + 100'000 * (rank < 20 ? rank : 20)));
    std::fprintf(stderr, "rank %d: ", rank);
    return true;
  };
}

}  // namespace atlas::inline ATLAS_ABI::dist
