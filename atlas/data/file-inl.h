// Bodies of file.h.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "atlas/core/output_file.h"
#include "atlas/data/file.h"
#include "atlas/tensor/print.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE Bytes read_file(const std::string& path, int64_t limit) {
  // Opening a FIFO would wait for somebody who writes: not with O_NONBLOCK, and it is refused below.
  struct Handle {
    int fd;
    ~Handle() {
      if (fd >= 0) ::close(fd);
    }
  } file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  check(file.fd >= 0, "read_file", "{}: {}", path, std::strerror(errno));
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) fail("read_file", "{}: {}", path, std::strerror(errno));
  check(S_ISREG(info.st_mode), "read_file", "{}: is {}, not a file", path,
        S_ISDIR(info.st_mode) ? "a folder" : "a device");
  check(info.st_size <= limit, "read_file", "{}: is {} bytes long, at most {} are read", path,
        static_cast<int64_t>(info.st_size), limit);
  Bytes bytes(static_cast<size_t>(info.st_size));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(file.fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    check(n >= 0, "read_file", "{}: {} at offset {}", path, std::strerror(errno), done);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
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
