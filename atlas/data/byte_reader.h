// Numbers out of the bytes of a picture's file.
// Not in atlas.h: include it by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::data::detail {

/// Bytes with a position that every read is checked against.
struct ByteReader {
  std::span<const uint8_t> bytes;
  bool has(size_t at, size_t count) const { return at <= bytes.size() && count <= bytes.size() - at; }
  uint32_t big16(size_t at) const { return (uint32_t{bytes[at]} << 8) | bytes[at + 1]; }
  uint32_t little16(size_t at) const { return bytes[at] | (uint32_t{bytes[at + 1]} << 8); }
  uint32_t big32(size_t at) const { return (big16(at) << 16) | big16(at + 2); }
  uint32_t little32(size_t at) const { return little16(at) | (little16(at + 2) << 16); }
};

}  // namespace atlas::inline ATLAS_ABI::data::detail
