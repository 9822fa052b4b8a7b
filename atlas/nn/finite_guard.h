// FiniteGuard: finds the first module whose output is not finite.
// Not in atlas.h: include it by name.
#pragma once

#include <fmt/core.h>

#include <cmath>
#include <string>
#include <string_view>
#include <unordered_map>

#include "atlas/core/failure.h"
#include "atlas/nn/module.h"
#include "atlas/ops/cast.h"

namespace atlas::inline ATLAS_ABI {

/// True when no element is NaN or infinite (always for tensors that are not float32, float64 or bfloat16).
inline bool all_finite(const Tensor& t) {
  if (!t.defined() || (t.dtype() != float32 && t.dtype() != float64 && t.dtype() != bfloat16)) return true;
  const Tensor rows = detail::copy_as(on_host(t), statistics_dtype(t));
  return visit_float(rows.dtype(), "all_finite", [&](auto tag) {
    using T = decltype(tag);
    const T* x = rows.data<T>();
    T sum = 0;  // x * 0 is NaN exactly for the elements looked for, and NaN stays
    for (int64_t i = 0; i < rows.numel(); ++i) sum += x[i] * T(0);
    return !std::isnan(sum);
  });
}

/// For models that would pass over numbers that are not finite, as detectors drop such boxes.
/// @throws Failure naming the module, when its output is NaN or infinite.
inline void require_finite_output(const Tensor& output, std::string_view module) {
  if (!all_finite(output))
    throw Failure(
        fmt::format("[model] its results are not finite (NaN or infinite). The first output looked at that is not "
                    "finite is that of module '{}'. Are the weights damaged?",
                    module));
}

/// While it lives, looks at the output of every module of `root` that runs on this thread and remembers the first that
/// is not finite. Inner modules are seen before those they belong to. Slow: for the second look at a bad batch.
///
/// Example: `FiniteGuard guard(model); { NoGrad off; model(images); } fmt::print("{}", guard.first_bad());`
class FiniteGuard {
 public:
  explicit FiniteGuard(Module& root) {
    for (const auto& [path, module] : root.named_modules())
      paths_[module] = path.empty() ? "(the model's output)" : path;
  }

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
