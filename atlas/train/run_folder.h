// The folder of a run: made, and found fit to take what will be written, before training begins.
// Not in atlas.h: include it by name.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "atlas/core/error.h"
#include "atlas/data/file.h"

namespace atlas::inline ATLAS_ABI::train {

/// Writes a text file, whole or not at all. @throws Error naming the file and the system's reason.
inline void write_text(const std::string& path, const std::string& text) {
  data::write_file(path, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

/// Makes the folder `out` and finds out whether it can take a run's checkpoints.
/// @param bytes  size of one checkpoint, about
/// @throws Error when the folder cannot be made or written to, or when the disk or a limit on the size of files (ulimit
///         -f) leaves no room: for the last checkpoint, the best one and one that is being written.
inline void prepare_folder(const std::string& out, int64_t bytes) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::create_directories(out, error);
  check(!error, "out", "cannot make the folder {}: {}", out, error.message());
  const std::string probe = out + "/.can-write";
  write_text(probe, "yes");
  fs::remove(probe, error);

  const auto mib = [](uint64_t n) { return static_cast<double>(n) / (1 << 20); };
  rlimit most{};
  if (::getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur != RLIM_INFINITY)
    check(most.rlim_cur >= static_cast<uint64_t>(bytes), "out",
          "a checkpoint takes {:.1f} MiB, but files may have at most {:.1f} MiB here (ulimit -f)",
          mib(static_cast<uint64_t>(bytes)), mib(most.rlim_cur));
  uint64_t there = 0;  // what a resumed run has written before needs no new room
  for (const char* name : {"last.ckpt", "best.ckpt"}) {
    const auto size = fs::file_size(out + "/" + name, error);
    if (!error) there += size;
  }
  const fs::space_info space = fs::space(out, error);
  const uint64_t all = static_cast<uint64_t>(3 * bytes), wanted = all > there ? all - there : 0;
  check(error || space.available >= wanted, "out", "{} has {:.1f} MiB free, but checkpoints will take {:.1f} MiB", out,
        mib(space.available), mib(wanted));
}

}  // namespace atlas::inline ATLAS_ABI::train
