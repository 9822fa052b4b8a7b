// Ctrl-C as a request: the first one asks the loop to finish what it does, the second one ends the program.
#pragma once

#include <csignal>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::train {

/// While it lives, SIGINT and SIGTERM set a flag instead of ending the process. One at a time.
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
  }
  ~InterruptGuard() {
    sigaction(SIGINT, &before_int_, nullptr);
    sigaction(SIGTERM, &before_term_, nullptr);
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
};

}  // namespace atlas::inline ATLAS_ABI::train
