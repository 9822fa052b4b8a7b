// ConstantCache: index tables, masks and coordinates that follow from sizes alone, made once for each device.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "atlas/ops/cast.h"

namespace atlas::inline ATLAS_ABI {

/// Tensors that depend on a few numbers only. A model that made them anew in every pass would copy them to its device
/// every time, and wait for it; such a pass could not be captured in a CUDA graph either.
///
/// A member of a layer or model. Several threads may ask at once.
class ConstantCache {
 public:
  /// make() on `device`, or what it gave for the same key before.
  /// @param key  everything that the tensor depends on; its first number tells kinds of tensors apart
  template <class F>
  Tensor get(Device device, const std::vector<int64_t>& key, F&& make) const {
    const std::lock_guard lock(mutex_);
    if (constants_.size() >= kMost) constants_.clear();  // somebody shows pictures of a thousand sizes
    auto [it, fresh] = constants_.try_emplace({device.str(), key});
    if (fresh) it->second = make().to(device);
    return it->second;
  }

 private:
  static constexpr size_t kMost = 1024;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<std::string, std::vector<int64_t>>, Tensor> constants_;
};

}  // namespace atlas::inline ATLAS_ABI
