// Whole files in and out: reading with a limit, and writing through a temporary name.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::data {

/// The bytes of a file.
using Bytes = std::vector<uint8_t>;

/// Reads a whole file. @throws Error naming the file when it is missing, a folder, unreadable or longer than `limit`.
Bytes read_file(const std::string& path, int64_t limit = int64_t{1} << 32);

/// Writes a file whole or not at all, as OutputFile does: links are followed, modes kept, devices written through.
/// @throws Error naming the file and the reason (missing folder, no permission, full disk).
void write_file(const std::string& path, std::span<const uint8_t> bytes);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/file-inl.h"
#endif
