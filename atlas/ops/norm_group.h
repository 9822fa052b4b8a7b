// How batch norm gets the statistics of more than its own batch: dist/sync_batch_norm.h says with whom.
// Not in atlas.h: include it by name.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::detail {

/// Makes a float64 tensor the sum of those of all who share a batch.
using SumOverGroup = std::function<void(Tensor&)>;

/// With whom batch norm in training shares its statistics on this thread; null: with nobody.
std::shared_ptr<const SumOverGroup>& batch_norm_group();

/// Those who work together at all, on this thread (dist::DataParallel says it); null: nobody. Layers whose own batch is
/// too small for statistics, as the heads of detectors, share theirs with them: see SharedStatistics.
std::shared_ptr<const SumOverGroup>& offered_norm_group();

/// While it lives, one of the two above is another, unless that is null.
class NormGroupScope {
 public:
  NormGroupScope(std::shared_ptr<const SumOverGroup>& which, const std::shared_ptr<const SumOverGroup>& group)
      : which_(which), before_(which) {
    if (group) which_ = group;
  }
  ~NormGroupScope() { which_ = std::move(before_); }
  NormGroupScope(const NormGroupScope&) = delete;
  NormGroupScope& operator=(const NormGroupScope&) = delete;

 private:
  std::shared_ptr<const SumOverGroup>& which_;
  std::shared_ptr<const SumOverGroup> before_;
};

/// While it lives, batch norm on this thread shares its statistics with those who work together, if there are any.
struct SharedStatistics : NormGroupScope {
  SharedStatistics() : NormGroupScope(batch_norm_group(), offered_norm_group()) {}
};

/// While it lives, batch norm on this thread has the statistics of its own batch, whoever would share theirs.
class OwnStatistics {
 public:
  OwnStatistics() = default;
  ~OwnStatistics() {
    batch_norm_group() = std::move(together_);
    offered_norm_group() = std::move(offered_);
  }
  OwnStatistics(const OwnStatistics&) = delete;
  OwnStatistics& operator=(const OwnStatistics&) = delete;

 private:
  std::shared_ptr<const SumOverGroup> together_ = std::exchange(batch_norm_group(), nullptr);
  std::shared_ptr<const SumOverGroup> offered_ = std::exchange(offered_norm_group(), nullptr);
};

}  // namespace atlas::inline ATLAS_ABI::detail

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/norm-inl.h"
#endif
