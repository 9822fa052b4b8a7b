// How batch norm gets the statistics of more than its own batch: dist/sync_batch_norm.h says with whom.
// Not in atlas.h: include it by name.
#pragma once

#include <functional>
#include <memory>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::detail {

/// Makes a float64 tensor the sum of those of all who share a batch.
using SumOverGroup = std::function<void(Tensor&)>;

/// With whom batch norm in training shares its statistics on this thread; null: with nobody.
std::shared_ptr<const SumOverGroup>& batch_norm_group();

}  // namespace atlas::inline ATLAS_ABI::detail

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/norm-inl.h"
#endif
