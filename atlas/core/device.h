// Where a tensor's memory lives.
#pragma once

#include <string>
#include <string_view>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

enum class DeviceType : unsigned char { cpu, cuda };

/// A device: the CPU, or CUDA device `index`.
struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  bool is_cuda() const { return type == DeviceType::cuda; }
  bool operator==(const Device&) const = default;

  /// "cpu", "cuda:0"
  std::string str() const;

  /// Reads "cpu", "cuda" or "cuda:N". @throws Error for anything else.
  static Device parse(std::string_view text);
};

/// Raises the error every kernel raises when it meets a CUDA tensor in a build without CUDA.
[[noreturn]] void fail_no_cuda(std::string_view op);

namespace detail {
inline Device& default_device_slot() {
  static Device device;
  return device;
}
}  // namespace detail

/// Where new tensors live when nothing else is said: the CPU, unless set_default_device() was called.
inline Device default_device() { return detail::default_device_slot(); }
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/core/device-inl.h"
#endif
