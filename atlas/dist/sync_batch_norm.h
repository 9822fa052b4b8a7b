// Synchronized batch norm: the statistics of the whole batch, of all ranks.
#pragma once

#include <memory>
#include <utility>

#include "atlas/dist/group.h"
#include "atlas/ops/norm_group.h"

namespace atlas::inline ATLAS_ABI::dist {

/// While it lives, batch norm in training has, on this thread, the mean and variance of the values of all ranks,
/// forward and backward: ranks with parts of a batch compute what one process computes with the whole of it. Parts may
/// have different sizes, of at least one image each.
///
///     const dist::SyncBatchNorm together(group);
///     loss = cross_entropy(model(images), labels);
///
/// Every rank runs the same layers in the same order. With one process nothing changes.
class SyncBatchNorm {
 public:
  explicit SyncBatchNorm(const Group& group) : before_(atlas::detail::batch_norm_group()) {
    if (group.size() > 1)
      atlas::detail::batch_norm_group() =
          std::make_shared<const atlas::detail::SumOverGroup>([group](Tensor& x) { group.all_reduce(x); });
  }
  ~SyncBatchNorm() { atlas::detail::batch_norm_group() = std::move(before_); }
  SyncBatchNorm(const SyncBatchNorm&) = delete;
  SyncBatchNorm& operator=(const SyncBatchNorm&) = delete;

 private:
  std::shared_ptr<const atlas::detail::SumOverGroup> before_;
};

namespace detail {

/// While it lives, layers that ask for it share the statistics of their batch norm with a group.
class OfferedStatistics {
 public:
  explicit OfferedStatistics(const Group& group) : before_(atlas::detail::offered_norm_group()) {
    if (group.size() > 1)
      atlas::detail::offered_norm_group() =
          std::make_shared<const atlas::detail::SumOverGroup>([group](Tensor& x) { group.all_reduce(x); });
  }
  ~OfferedStatistics() { atlas::detail::offered_norm_group() = std::move(before_); }
  OfferedStatistics(const OfferedStatistics&) = delete;
  OfferedStatistics& operator=(const OfferedStatistics&) = delete;

 private:
  std::shared_ptr<const atlas::detail::SumOverGroup> before_;
};

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::dist
