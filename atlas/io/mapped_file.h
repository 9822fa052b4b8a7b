// A whole file as memory.
// Not in atlas.h: include it by name.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::io {

/// A file mapped into memory while the object lives. Pages are read when they are first touched; writing to them
/// changes this program's copy, never the file. A file that another program overwrites in place changes under the
/// reader, and one that it shortens ends the reader (SIGBUS), as with every mapped file: writers should rename, as ours
/// do.
class MappedFile {
 public:
  /// @throws Error naming `op`, the path and the system's reason when it cannot be opened or is no regular file.
  MappedFile(const std::string& path, const char* op) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    check(fd >= 0, op, "cannot open {}: {}", path, std::strerror(errno));
    struct stat s {};
    const bool regular = ::fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
    size_ = regular ? static_cast<size_t>(s.st_size) : 0;
    if (size_ > 0) data_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    const int error = errno;
    ::close(fd);
    check(regular, op, "{} is not a regular file", path);
    check(data_ != MAP_FAILED, op, "cannot read {}: {}", path, std::strerror(error));
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
