// What is done when a backward pass has come to its end.
// Not in atlas.h: include it by name.
#pragma once

#include <functional>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::detail {

/// Calls `what` on this thread when the backward pass that runs on it has given every leaf its gradient: what hooks of
/// gradients have begun is completed there. Passes inside of it (checkpointed blocks) are part of it. Nothing is called
/// when the pass fails. Only hooks call this.
void after_backward(std::function<void()> what);

}  // namespace atlas::inline ATLAS_ABI::detail

#ifndef ATLAS_COMPILED_LIB
#include "atlas/autograd/backward-inl.h"
#endif
