// Ctrl-C (and being told to end, or losing the terminal) as a request: the first one asks the loop to finish what it
// does, the second one ends the program.
// Not in atlas.h: include it by name.
#pragma once

#include <csignal>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::train {

/// While it lives, SIGINT, SIGTERM and SIGHUP set a flag instead of ending the process (SIGHUP only where it would have
/// ended it: not under nohup). One at a time.
class InterruptGuard {
 public:
  InterruptGuard() {
    flag() = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { flag() = 1; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second signal has its usual effect
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &before_int_);
    sigaction(SIGTERM, &action, &before_term_);
    sigaction(SIGHUP, nullptr, &before_hup_);
    if (before_hup_.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
  }
  ~InterruptGuard() {
    sigaction(SIGINT, &before_int_, nullptr);
    sigaction(SIGTERM, &before_term_, nullptr);
    sigaction(SIGHUP, &before_hup_, nullptr);
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// True once a signal has come.
  bool requested() const { return flag() != 0; }

 private:
  static volatile std::sig_atomic_t& flag() {
    static volatile std::sig_atomic_t f = 0;
    return f;
  }
  struct sigaction before_int_ {};
  struct sigaction before_term_ {};
  struct sigaction before_hup_ {};
};

}  // namespace atlas::inline ATLAS_ABI::train
