// The standard output of a program: whether what was printed arrived, and files that are written to it.
// Not in atlas.h: include it by name.
#pragma once

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

/// Whoever read what a program writes has gone (EPIPE), which is no failure to speak of: programs end without a word.
class ReaderGone : public Error {
 public:
  using Error::Error;
};

namespace detail {

/// What is known of the standard output of this process.
struct StandardOutput {
  int error = 0;      ///< why the first write that failed did; 0 while none has
  int reserved = -1;  ///< the standard output as it was, once an output file has it for itself
  std::string owner;  ///< the option that named it

  static StandardOutput& get() {
    static StandardOutput it;
    return it;
  }
};

/// Remembers why printing failed. Only the first reason counts: the later ones follow from it.
inline void note_output_error(int error) {
  StandardOutput& out = StandardOutput::get();
  if (out.error == 0) out.error = error != 0 ? error : EIO;
}

}  // namespace detail

/// Sends what was printed on its way, and remembers the system's reason where that fails, for the end of the program.
inline void flush_standard_output() {
  errno = 0;
  if (std::fflush(stdout) != 0)
    detail::note_output_error(errno);
  else if (std::ferror(stdout) != 0 && detail::StandardOutput::get().error == 0) {
    // The C library wrote by itself when its buffer was full, and dropped both what it held and the reason.
    struct pollfd pipe {
      STDOUT_FILENO, POLLOUT, 0
    };
    detail::note_output_error(::poll(&pipe, 1, 0) == 1 && (pipe.revents & POLLERR) != 0 ? EPIPE : 0);
  }
}

/// Sends what was printed to a stream on its way.
inline void flush_stream(std::FILE* stream) {
  if (stream == stdout)
    flush_standard_output();
  else
    std::fflush(stream);
}

/// For programs that print their result: nobody else may have the standard output.
/// @param owner  the option that asks for it   @throws Error when an output file has it.
inline void check_standard_output_is_free(const std::string& owner) {
  const std::string& other = detail::StandardOutput::get().owner;
  check(other.empty(), owner, "prints to the standard output, which {} has already: name a file there", other);
}

/// Gives the standard output to a file that is to be written, where its name means that (/dev/stdout, /dev/fd/1, a link
/// to them, or the very file that the standard output goes to): what is printed from now on goes to stderr.
/// @param path  of the file   @param owner  the option that named it
/// @throws Error when another output has the standard output already: two would mix.
inline void reserve_standard_output(const std::string& path, const std::string& owner) {
  struct stat file {
  }, out{};
  detail::StandardOutput& state = detail::StandardOutput::get();
  const int now = state.reserved >= 0 ? state.reserved : STDOUT_FILENO;
  if (::stat(path.c_str(), &file) != 0 || ::fstat(now, &out) != 0) return;
  if (file.st_dev != out.st_dev || file.st_ino != out.st_ino) return;
  // A null device is many things at once, and nothing mixes there.
  if (S_ISCHR(out.st_mode) && ::isatty(now) == 0 && !path.starts_with("/dev/std") && !path.starts_with("/dev/fd/") &&
      !path.starts_with("/proc/"))
    return;
  check(state.owner.empty() || state.owner == owner, owner,
        "{} is the standard output, which {} has already: name a file", path, state.owner);
  if (state.reserved >= 0) return;
  flush_standard_output();
  const int copy = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  check(copy >= 0 && ::dup2(STDERR_FILENO, STDOUT_FILENO) >= 0, owner, "cannot set the standard output apart");
  state.reserved = copy;
  state.owner = owner;
}

}  // namespace atlas::inline ATLAS_ABI
