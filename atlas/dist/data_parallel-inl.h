// Bodies of data_parallel.h.
#pragma once

#include <fmt/core.h>

#include "atlas/autograd/node.h"
#include "atlas/dist/data_parallel.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::dist {

namespace detail {

/// The parameters that train, of a model made the same on all ranks.
ATLAS_INLINE std::vector<std::pair<std::string, Tensor>> make_equal(Module& model, const Group& group, Start start) {
  Settings shapes, values;
  for (const StateEntry& e : model.state_entries()) {
    check(!e.tensor.device().is_cuda(), "data_parallel", "'{}' is {}: processes share models on the CPU", e.name,
          describe(e.tensor));
    shapes.emplace_back(e.name, fmt::format("{}{}{}", name(e.tensor.dtype()), e.tensor.shape().str(),
                                            e.tensor.requires_grad() ? ", trained" : ""));
  }
  check_agree(group, "the model", shapes);
  const NoGrad off;
  std::vector<std::pair<std::string, Tensor>> trained;
  for (const StateEntry& e : model.state_entries()) {
    Tensor t = e.tensor;
    if (start == Start::compare) {
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
  uint64_t hash = 0xcbf29ce484222325u;
  const auto mix = [&](const void* data, int64_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (int64_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001b3u;
  };
  const std::string what = describe(x);
  mix(what.data(), static_cast<int64_t>(what.size()));
  const Tensor whole = x.is_contiguous() ? x : copy_of(x);
  mix(whole.raw(), whole.numel() * item_size(whole.dtype()));
  return hash;
}

ATLAS_INLINE DataParallel::DataParallel(Module& model, const Group& group, DataParallelOptions options)
    : model_(model), group_(group), reducer_(detail::make_equal(model, group, options.start), group, options.buckets) {}

ATLAS_INLINE void DataParallel::average_buffers() {
  if (group_.size() == 1) return;
  const NoGrad off;
  for (const auto& [name, buffer] : model_.named_buffers()) {
    if (!is_floating(buffer.dtype())) continue;
    Tensor t = buffer, mean = copy_of(t);
    group_.all_reduce(mean);
    scale_elements(mean, 1.0 / group_.size());
    copy_elements(t, mean);
    t.bump_version();
  }
}

}  // namespace atlas::inline ATLAS_ABI::dist
