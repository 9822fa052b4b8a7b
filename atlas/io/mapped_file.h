// A whole file as memory.
// Not in atlas.h: include it by name.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>

#include "atlas/core/error.h"
#include "atlas/core/input_file.h"

namespace atlas::inline ATLAS_ABI::io {

/// A file mapped into memory while the object lives. Pages are read when they are first touched; writing to them
/// changes this program's copy, never the file. A file that another program overwrites in place changes under the
/// reader, and one that it shortens ends the reader (SIGBUS), as with every mapped file: writers should rename, as ours
/// do.
class MappedFile {
 public:
  /// @throws Error naming `op`, the path and the system's reason when it cannot be opened or is no regular file.
  MappedFile(const std::string& path, const char* op) {
    const InputFile file(path);
    check(file.problem().empty(), op, "cannot open {}: {}", path, file.problem());
    size_ = static_cast<size_t>(file.size());
    if (size_ > 0) data_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.fd(), 0);
    check(data_ != MAP_FAILED, op, "cannot read {}: {}", path, std::strerror(errno));
  }
  ~MappedFile() {
    if (size_ > 0) ::munmap(data_, size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace atlas::inline ATLAS_ABI::io
