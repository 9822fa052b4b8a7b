// Where a tensor's memory lives.
#pragma once

#include <charconv>
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
  std::string str() const { return is_cuda() ? fmt::format("cuda:{}", index) : "cpu"; }

  /// Reads "cpu", "cuda" or "cuda:N". @throws Error for anything else.
  static Device parse(std::string_view text) {
    if (text == "cpu") return {};
    if (text == "cuda") return {DeviceType::cuda, 0};
    if (text.substr(0, 5) == "cuda:") {
      int n = -1;
      const auto [end, bad] = std::from_chars(text.data() + 5, text.data() + text.size(), n);
      if (bad == std::errc{} && end == text.data() + text.size() && n >= 0) return {DeviceType::cuda, n};
    }
    fail("device", "'{}' is no device; use cpu, cuda or cuda:N", text);
  }
};

/// Raises the error every kernel raises when it meets a CUDA tensor in a build without CUDA.
[[noreturn]] inline void fail_no_cuda(std::string_view op) {
  fail(op,
       "this build of atlas has no CUDA: configure with -DATLAS_CUDA=ON and link atlas::cuda, or move the tensors "
       "with .to(Device{{}})");
}

namespace detail {
inline Device& default_device_slot() {
  static Device device;
  return device;
}
}  // namespace detail

/// Where new tensors live when nothing else is said: the CPU, unless set_default_device() was called.
inline Device default_device() { return detail::default_device_slot(); }
}  // namespace atlas::inline ATLAS_ABI
