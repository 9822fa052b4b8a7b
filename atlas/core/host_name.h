// The name of this machine.
// Not in atlas.h: include it by name.
#pragma once

#include <unistd.h>

#include <array>
#include <string>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// As the system has it; "localhost" where it has none.
inline std::string host_name() {
  std::array<char, 256> name{};  // stays terminated
  return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data() : "localhost";
}

}  // namespace atlas::inline ATLAS_ABI
