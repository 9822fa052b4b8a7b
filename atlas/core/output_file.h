// OutputFile: the one way in which files are replaced, whole or not at all, without harming what stood there.
// Not in atlas.h: include it by name.
#pragma once

#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "atlas/core/error.h"
#include "atlas/core/standard_output.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
/// The folder that a path's last name is in.
inline std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}
}  // namespace detail

/// The file behind a path: symbolic links are followed, also one whose target does not exist yet.
///
/// A name of an open file of this process (/dev/stdout, /dev/fd/3, /proc/self/fd/3) comes back as `/proc/<pid>/fd/<n>`.
/// @throws Error for links that lead in a circle.
inline std::string resolved_path(const std::string& path, std::string_view op = "file") {
  std::string at = path;
  char text[PATH_MAX];  // <filesystem> would be read by every file of the library
  for (int links = 0;; ++links) {
    const ssize_t length = ::readlink(at.c_str(), text, sizeof(text));
    if (length <= 0) return at;
    check(links < 40 && length < PATH_MAX, op, "cannot write {}: its symbolic links lead in a circle", path);
    const std::string next(text, static_cast<size_t>(length)), folder = detail::folder_of(at);
    if (::realpath(folder.c_str(), text) != nullptr) {
      const std::string_view place = text;
      if (place.starts_with("/proc/") && place.ends_with("/fd"))
        return fmt::format("{}/{}", place, at.substr(at.rfind('/') + 1));
    }
    at = next.starts_with('/') ? next : fmt::format("{}/{}", folder, next);
  }
}

/// A file that is being written.
///
/// A plain file is written under a temporary name beside it and renamed by finish(), so that its name never stands for
/// half of it; it keeps the mode and owner that it had, and one that is write-protected is an error. Symbolic links are
/// followed. Devices, FIFOs and open files (/dev/stdout) are written through, because they cannot be replaced. A writer
/// that is destroyed before finish() leaves everything as it was.
///
/// Example: `OutputFile out("a.txt", "notes"); out.write(text.data(), text.size()); out.finish();`
class OutputFile {
 public:
  /// @param op  whose error messages these are
  /// @throws Error naming the path and the system's reason, also for a folder, a block device or a socket.
  explicit OutputFile(std::string path, std::string_view op) : path_(std::move(path)), op_(op) {
    target_ = resolved_path(path_, op_);
    struct stat info {};
    exists_ = ::stat(path_.c_str(), &info) == 0;
    if (!exists_ && errno != ENOENT) give_up(errno);
    if (exists_) mode_ = info.st_mode & 07777, owner_ = info.st_uid, group_ = info.st_gid;
    if (exists_ && S_ISDIR(info.st_mode)) give_up(EISDIR);
    check(!exists_ || !(S_ISBLK(info.st_mode) || S_ISSOCK(info.st_mode)), op_, "cannot write {}: it is a {}", path_,
          S_ISBLK(info.st_mode) ? "block device" : "socket");
    const int descriptor = own_descriptor();
    if (descriptor >= 0) {
      fd_ = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    } else if (exists_ && !S_ISREG(info.st_mode)) {
      fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
    } else {
      // Renaming would get around a file's protection.
      if (exists_ && ::faccessat(AT_FDCWD, path_.c_str(), W_OK, AT_EACCESS) != 0) give_up(errno);
      temporary_ = temporary_name();
      ::unlink(temporary_.c_str());  // of a process that was killed and had our number
      fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (fd_ < 0) give_up(errno);
  }
  ~OutputFile() { abandon(); }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// True for a plain file: false where what is written is gone (devices, FIFOs).
  bool replaces() const { return !temporary_.empty(); }

  /// Appends bytes. @throws Error naming the path and the system's reason, such as a full disk.
  void write(const void* from, size_t bytes) {
    const auto* p = static_cast<const char*>(from);
    while (bytes > 0) {
      const ssize_t n = ::write(fd_, p, std::min<size_t>(bytes, size_t{1} << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) give_up(errno);
      p += n;
      bytes -= static_cast<size_t>(n);
    }
  }
  /// Replaces the first bytes. @throws Error as write(), and where replaces() is false.
  void write_front(const void* from, size_t bytes) {
    if (::lseek(fd_, 0, SEEK_SET) != 0) give_up(errno);
    write(from, bytes);
    if (::lseek(fd_, 0, SEEK_END) < 0) give_up(errno);
  }
  /// Puts the file in its place. @param sync  it is on the disk when this returns, whatever happens to the machine
  /// @throws Error naming the path and the system's reason; the old file is then untouched.
  void finish(bool sync = false) {
    publish(sync);
    if (::close(std::exchange(fd_, -1)) != 0) give_up(errno);
  }
  /// As finish(), but the file stays open for more: buffered, for whoever closes it.
  std::FILE* finish_and_keep() {
    publish(false);
    std::FILE* file = ::fdopen(fd_, "wb");
    if (file == nullptr) give_up(errno);
    fd_ = -1;
    return file;
  }

 private:
  /// Beside the target, and no longer than names may be.
  std::string temporary_name() const {
    constexpr size_t kLongest = 200;
    const size_t begin = target_.rfind('/') + 1;  // 0 without one
    const std::string ending = fmt::format(".tmp-{}", ::getpid());
    if (target_.size() - begin <= kLongest) return target_ + ending;
    return fmt::format("{}.{:x}{}", target_.substr(0, begin), std::hash<std::string>()(target_.substr(begin)), ending);
  }
  int own_descriptor() const {
    const std::string own = fmt::format("/proc/{}/fd/", ::getpid());
    if (!target_.starts_with(own)) return -1;
    int number = -1;
    std::from_chars(target_.data() + own.size(), target_.data() + target_.size(), number);
    const int reserved = detail::StandardOutput::get().reserved;
    return number == STDOUT_FILENO && reserved >= 0 ? reserved : number;
  }
  void publish(bool sync) {
    if (!replaces()) return;
    if (exists_) {
      struct stat now {};
      // A file of somebody else's stays theirs where we may do that; the mode comes last, as chown clears parts of it.
      if (::fstat(fd_, &now) == 0 && (now.st_uid != owner_ || now.st_gid != group_))
        static_cast<void>(::fchown(fd_, owner_, group_) == 0);
      if (::fchmod(fd_, mode_) != 0) give_up(errno);
    }
    if (sync && ::fsync(fd_) != 0) give_up(errno);
    if (std::rename(temporary_.c_str(), target_.c_str()) != 0) give_up(errno);
    temporary_.clear();
    if (!sync) return;
    // The rename itself reaches the disk with the folder. Some file systems refuse this; the content is safe either
    // way.
    if (const int fd = ::open(detail::folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
      ::fsync(fd);
      ::close(fd);
    }
  }
  void abandon() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    if (!temporary_.empty()) ::unlink(std::exchange(temporary_, {}).c_str());
  }
  [[noreturn]] void give_up(int error) {
    abandon();
    if (error == EPIPE) throw ReaderGone(fmt::format("[{}] cannot write {}: {}", op_, path_, std::strerror(error)));
    fail(op_, "cannot write {}: {}", path_, std::strerror(error));
  }

  std::string path_, op_, target_, temporary_;
  bool exists_ = false;
  mode_t mode_ = 0;
  uid_t owner_ = 0;
  gid_t group_ = 0;
  int fd_ = -1;
};

/// Finds out before the work whether its result could be written. @throws Error as OutputFile does.
inline void check_can_write(const std::string& path, std::string_view op) {
  struct stat info {};
  // Whoever reads a FIFO would take the end of a first opening for the end of the data.
  if (::stat(path.c_str(), &info) == 0 && S_ISFIFO(info.st_mode)) return;
  const OutputFile probe(path, op);
}

}  // namespace atlas::inline ATLAS_ABI
