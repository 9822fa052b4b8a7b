// What is said when the last rank is another than rank 0.
#pragma once

#include <string>

#include "atlas/dist/group.h"

namespace test {

/// "[dist] the `what` of rank 3 is another than that of rank 0: "
inline std::string last_differs(const atlas::dist::Group& group, const std::string& what) {
  return "[dist] the " + what + " of rank " + std::to_string(group.size() - 1) + " is another than that of rank 0: ";
}

}  // namespace test
