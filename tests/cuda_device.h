// For tests that choose their devices themselves: whether there is a GPU, and what an error says.
#pragma once

#include <string>

#include "atlas/core/cuda.h"

namespace test {

inline constexpr atlas::Device kDevice{atlas::DeviceType::cuda, 0};

inline bool have_device() {
  if constexpr (atlas::kWithCuda) return atlas::cuda::device_count() > 0;
  return false;
}

/// The text of the error that f raises; "no error" when it raises none.
template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const atlas::Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace test
