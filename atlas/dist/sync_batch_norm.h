// Synchronized batch norm: the statistics of the whole batch, of all ranks.
#pragma once

#include <memory>

#include "atlas/dist/group.h"
#include "atlas/ops/norm_group.h"

namespace atlas::inline ATLAS_ABI::dist {

namespace detail {

/// Sums over a group, as batch norm asks for them; null for one process.
inline std::shared_ptr<const atlas::detail::SumOverGroup> sum_over(const Group& group) {
  if (group.size() == 1) return nullptr;
  return std::make_shared<const atlas::detail::SumOverGroup>([group](Tensor& x) { group.all_reduce(x); });
}

/// While it lives, layers that ask for it share the statistics of their batch norm with a group.
struct OfferedStatistics : atlas::detail::NormGroupScope {
  explicit OfferedStatistics(const Group& group)
      : NormGroupScope(atlas::detail::offered_norm_group(), sum_over(group)) {}
};

}  // namespace detail

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
  explicit SyncBatchNorm(const Group& group) : scope_(atlas::detail::batch_norm_group(), detail::sum_over(group)) {}

 private:
  atlas::detail::NormGroupScope scope_;
};

}  // namespace atlas::inline ATLAS_ABI::dist
