// FNV-1a: a hash of bytes that is the same on every machine.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <string_view>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// FNV-1a, 64 bits.
/// @param before  the hash of what comes before these bytes; default: nothing does
constexpr uint64_t fnv1a64(std::string_view bytes, uint64_t before = 0xcbf29ce484222325u) {
  for (const char c : bytes) before = (before ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return before;
}

}  // namespace atlas::inline ATLAS_ABI
