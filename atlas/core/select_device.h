// The device that somebody asks for by name, as programs do for --device.
#pragma once

#include <string>
#include <string_view>

#include "atlas/core/device.h"

namespace atlas::inline ATLAS_ABI {

/// The device called "cpu", "cuda" (the first), "cuda:N", or "auto": the first CUDA device when there is one that this
/// build has code for, else the CPU.
/// @throws Error in one line when there is no such device, or this build cannot use it.
Device select_device(std::string_view text);

/// "2 threads", or "cuda:0 (NVIDIA H100 80GB HBM3, ...)".
std::string describe_place(Device device);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/core/select_device-inl.h"
#endif
