// Bodies of data_parallel.h.
#pragma once

#include <fmt/core.h>

#include "atlas/autograd/node.h"
#include "atlas/core/hash.h"
#include "atlas/dist/data_parallel.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::dist {

namespace detail {

/// The parameters that train, of a model made the same on all ranks.
ATLAS_INLINE std::vector<std::pair<std::string, Tensor>> make_equal(Module& model, const Group& group,
                                                                    const DataParallelOptions& options) {
  Settings shapes, values;
  for (const StateEntry& e : model.state_entries()) {
    group.use(e.tensor.device());
    shapes.emplace_back(e.name, fmt::format("{}{}{}", name(e.tensor.dtype()), e.tensor.shape().str(),
                                            e.tensor.requires_grad() ? ", trained" : ""));
  }
  check_agree(group, "the model", shapes);
  const NoGrad off;
  std::vector<std::pair<std::string, Tensor>> trained;
  for (const StateEntry& e : model.state_entries()) {
    Tensor t = e.tensor;
    if (options.start == Start::compare) {
      if (options.compare_buffers || t.requires_grad() || !is_floating(t.dtype()))
        values.emplace_back(e.name, fmt::format("{:016x} (hash of its values)", hash_of(t)));
    } else if (group.size() > 1) {
      Tensor whole = copy_of(t);
      group.broadcast(whole);
      copy_elements(t, whole);
      t.bump_version();
    }
    if (t.requires_grad()) trained.emplace_back(e.name, t);
  }
  check_agree(group, "the model", values);
  return trained;
}

}  // namespace detail

ATLAS_INLINE uint64_t hash_of(const Tensor& x) {
  const Tensor whole = on_host(x);
  const std::string what = describe(whole);
  const auto bytes = static_cast<size_t>(whole.numel() * item_size(whole.dtype()));
  return fnv1a64({static_cast<const char*>(whole.raw()), bytes}, fnv1a64(what));
}

ATLAS_INLINE DataParallel::DataParallel(Module& model, const Group& group, DataParallelOptions options)
    : model_(model), group_(group), reducer_(detail::make_equal(model, group, options), group, options.buckets) {}

ATLAS_INLINE void average(const Group& group, const std::vector<Tensor>& tensors) {
  if (group.size() == 1) return;
  const NoGrad off;
  for (Tensor t : tensors) {
    if (t.dtype() != float32 && t.dtype() != float64) continue;
    Tensor mean = copy_of(t), largest = copy_of(t), smallest = copy_of(t);
    group.all_reduce(largest, Reduce::max);
    group.all_reduce(smallest, Reduce::min);
    if (hash_of(largest) == hash_of(smallest)) continue;
    group.all_reduce(mean);
    scale_elements(mean, 1.0 / group.size());
    copy_elements(t, mean);
    t.bump_version();
  }
}

ATLAS_INLINE void DataParallel::average_buffers() {
  std::vector<Tensor> buffers;
  for (const auto& [name, buffer] : model_.named_buffers()) buffers.push_back(buffer);
  average(group_, buffers);
}

}  // namespace atlas::inline ATLAS_ABI::dist
