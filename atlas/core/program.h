// What every program does around its work: standard descriptors that are open, errors as one line and an exit status,
// and output that has arrived.
// Not in atlas.h: include it by name.
#pragma once

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <system_error>

#include "atlas/core/failure.h"
#include "atlas/core/standard_output.h"

namespace atlas::inline ATLAS_ABI {

/// Opens the null device in the place of standard descriptors that the caller has closed (`program >&-`, cron,
/// daemons). Otherwise the first file that is opened would take their number, and messages would be written into it.
inline void open_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free number is this one.
    if (::open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd) return;
  }
}

namespace detail {

/// Where several processes run the same program: asked before one speaks, with whether that is an error.
inline bool (*may_speak)(bool error) = nullptr;

/// One line on stderr.
inline void say_error(const std::string& text) {
  if (may_speak == nullptr || may_speak(true)) std::fprintf(stderr, "%s\n", text.c_str());
}

/// The exit status after everything printed has reached its destination, or has not.
inline int status_after_flush(const char* name, int status) {
  flush_standard_output();
  int reason = StandardOutput::get().error;
  // Some file systems report a full disk only when a descriptor is closed.
  if (const int copy = ::dup(STDOUT_FILENO); copy >= 0 && ::close(copy) != 0 && reason == 0) reason = errno;
  if (reason == 0) return status;
  // Whoever reads may stop when it has enough (`| head`): that is no failure to speak of.
  if (reason != EPIPE)
    say_error(fmt::format("{}: cannot write to the standard output: {}", name, std::strerror(reason)));
  return status == 0 ? 1 : status;
}

}  // namespace detail

/// Runs a program: the body of main().
///
/// Errors become one line on stderr. A body that raises Error ends with 2 (what was asked for is wrong), Failure or
/// another exception with 1 (the work failed), and so does one whose output could not be written; without a word where
/// whoever read it has gone (`| head`), also where the signal that says so is ignored (`trap '' PIPE`).
/// @param name  of the program, for messages
/// @param body  returns the exit status
template <class Body>
int run_program(const char* name, const Body& body) {
  open_standard_descriptors();
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the limit of `ulimit -f` is an error of writing, not the end
  int status = 1;
  try {
    status = body();
  } catch (const ReaderGone&) {
    // quiet
  } catch (const Failure& e) {
    detail::say_error(e.what());
  } catch (const Error& e) {
    detail::say_error(e.what());
    status = 2;
  } catch (const std::bad_alloc&) {
    detail::say_error(std::string(name) + ": out of memory");
  } catch (const std::system_error& e) {
    if (std::ferror(stdout) != 0)
      detail::note_output_error(e.code().value());  // of fmt::print(), and said below
    else
      detail::say_error(std::string(name) + ": " + e.what());
  } catch (const std::exception& e) {
    detail::say_error(std::string(name) + ": " + e.what());
  }
  return detail::status_after_flush(name, status);
}

}  // namespace atlas::inline ATLAS_ABI
