// InputFile: the one way in which files are opened for reading, without waiting for what is no file.
// Not in atlas.h: include it by name.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace atlas::inline ATLAS_ABI {

/// A regular file, open for reading while the object lives.
///
/// Opening a FIFO would wait for somebody who writes, and reading a device may never end: neither is done.
///
/// Example: `const InputFile in(path); check(in.problem().empty(), "notes", "cannot open {}: {}", path, in.problem());`
class InputFile {
 public:
  explicit InputFile(const std::string& path) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat info {};
    if (fd_ < 0 || ::fstat(fd_, &info) != 0)
      problem_ = std::strerror(errno);
    else if (!S_ISREG(info.st_mode))
      problem_ = S_ISDIR(info.st_mode) ? "is a folder, not a file" : "is a device, not a file";
    size_ = static_cast<int64_t>(info.st_size);
  }
  ~InputFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Why nothing can be read: the system's reason, or that this is a folder or a device (a FIFO, too); "" when open.
  const std::string& problem() const { return problem_; }
  /// Bytes of the file when it was opened.
  int64_t size() const { return size_; }
  /// The descriptor, which stays the object's.
  int fd() const { return fd_; }
  /// Reads the next bytes, fewer only at the end of the file or on an error, which is then in errno (0 otherwise).
  /// @return how many were read; 0 where there is a problem()
  size_t read(void* to, size_t bytes) const {
    errno = 0;
    size_t done = 0;
    while (problem_.empty() && done < bytes) {
      const ssize_t n = ::read(fd_, static_cast<char*>(to) + done, bytes - done);
      if (n < 0 && errno == EINTR) {
        errno = 0;
        continue;
      }
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

 private:
  int fd_ = -1;
  int64_t size_ = 0;
  std::string problem_;
};

}  // namespace atlas::inline ATLAS_ABI
