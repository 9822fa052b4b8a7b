// FiniteGuard: finds the first module whose output is not finite.
// Not in atlas.h: include it by name.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "atlas/nn/module.h"
#include "atlas/ops/watch.h"

namespace atlas::inline ATLAS_ABI {

/// True when no element is NaN or infinite (always for tensors that are not float32, float64 or bfloat16).
bool all_finite(const Tensor& t);

/// For models that would pass over numbers that are not finite, as detectors drop such boxes.
/// @throws Failure naming the module, when its output is NaN or infinite.
void require_finite_output(const Tensor& output, std::string_view module);

/// While it lives, looks at the output of every module of `root` that runs on this thread and remembers the first that
/// is not finite. Inner modules are seen before those they belong to. Slow: for the second look at a bad batch.
///
/// Example: `FiniteGuard guard(model); { NoGrad off; model(images); } fmt::print("{}", guard.first_bad());`
class FiniteGuard {
 public:
  explicit FiniteGuard(Module& root);

  /// Path of the first module with a NaN or infinite output; "" when all were finite.
  const std::string& first_bad() const { return first_bad_; }

 private:
  std::unordered_map<const void*, std::string> paths_;
  std::string first_bad_;
  LayerWatch watch_{[this](const void* layer, const Tensor& output) {
    if (!first_bad_.empty() || all_finite(output)) return;
    if (const auto it = paths_.find(layer); it != paths_.end()) first_bad_ = it->second;
  }};
};

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/nn/finite_guard-inl.h"
#endif
