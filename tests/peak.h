// How much memory something takes.
#pragma once

#include <cstdint>

#include "atlas/core/storage.h"

namespace test {

/// Bytes of tensors on the host that are there at most while `f` runs, beyond those before.
template <class F>
int64_t peak_of(const F& f) {
  f();  // scratch memory and packed weights are there afterwards
  atlas::reset_peak_memory();
  const int64_t before = atlas::memory_stats().current;
  f();
  return atlas::memory_stats().peak - before;
}

}  // namespace test
