// Devices as text.
#pragma once

#include <charconv>

#include "atlas/core/device.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE std::string Device::str() const { return is_cuda() ? "cuda:" + std::to_string(index) : "cpu"; }

ATLAS_INLINE Device Device::parse(std::string_view text) {
  if (text == "cpu") return {};
  if (text == "cuda") return {DeviceType::cuda, 0};
  if (text.substr(0, 5) == "cuda:") {
    int n = -1;
    const auto [end, bad] = std::from_chars(text.data() + 5, text.data() + text.size(), n);
    if (bad == std::errc{} && end == text.data() + text.size() && n >= 0) return {DeviceType::cuda, n};
  }
  fail("device", "'{}' is no device; use cpu, cuda or cuda:N", text);
}

ATLAS_INLINE void fail_no_cuda(std::string_view op) {
  fail(op,
       "this build of atlas has no CUDA: configure with -DATLAS_CUDA=ON and link atlas::cuda, or move the tensors "
       "with .to(Device{{}})");
}

}  // namespace atlas::inline ATLAS_ABI
