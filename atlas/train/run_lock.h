// RunLock: one program at a time trains into a folder.
// Not in atlas.h: include it by name.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::train {

/// Holds the folder of a run while it lives. The lock is the system's, so that it ends with its process however that
/// ends: nothing has to be cleaned up after a kill.
class RunLock {
 public:
  /// @throws Error when another program holds the folder. File systems without locks are trusted to be alone.
  explicit RunLock(const std::string& folder) {
    fd_ = ::open((folder + "/.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) return;
    int status = 0;
    while ((status = ::flock(fd_, LOCK_EX | LOCK_NB)) != 0 && errno == EINTR) {
    }
    if (status == 0 || errno != EWOULDBLOCK) return;
    ::close(fd_);
    fail("out", "another program is training into {} at this moment: choose another --out, or wait for its end",
         folder);
  }
  ~RunLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace atlas::inline ATLAS_ABI::train
