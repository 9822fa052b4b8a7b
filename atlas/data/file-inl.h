// Bodies of file.h.
#pragma once

#include <cerrno>
#include <cstring>

#include "atlas/core/input_file.h"
#include "atlas/core/output_file.h"
#include "atlas/data/file.h"
#include "atlas/tensor/print.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE Bytes read_file(const std::string& path, int64_t limit) {
  const InputFile file(path);
  check(file.problem().empty(), "read_file", "{}: {}", path, file.problem());
  check(file.size() <= limit, "read_file", "{}: is {} bytes long, at most {} are read", path, file.size(), limit);
  Bytes bytes(static_cast<size_t>(file.size()));
  const size_t done = file.read(bytes.data(), bytes.size());
  check(errno == 0, "read_file", "{}: {} at offset {}", path, std::strerror(errno), done);
  check(done == bytes.size(), "read_file", "{}: ended at offset {}, expected {} bytes (still being written?)", path,
        done, bytes.size());
  return bytes;
}

ATLAS_INLINE void write_file(const std::string& path, std::span<const uint8_t> bytes) {
  OutputFile file(path, "write_file");
  file.write(bytes.data(), bytes.size());
  file.finish();
}

}  // namespace atlas::inline ATLAS_ABI::data
