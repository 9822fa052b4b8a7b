// Bodies of finite_guard.h.
#pragma once

#include <fmt/core.h>

#include <cmath>
#include <string>
#include <string_view>
#include <unordered_map>

#include "atlas/core/failure.h"
#include "atlas/nn/finite_guard.h"
#include "atlas/nn/module.h"
#include "atlas/ops/cast.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE bool all_finite(const Tensor& t) {
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

ATLAS_INLINE void require_finite_output(const Tensor& output, std::string_view module) {
  if (!all_finite(output))
    throw Failure(
        fmt::format("[model] its results are not finite (NaN or infinite). The first output looked at that is not "
                    "finite is that of module '{}'. Are the weights damaged?",
                    module));
}

ATLAS_INLINE FiniteGuard::FiniteGuard(Module& root) {
  for (const auto& [path, module] : root.named_modules()) paths_[module] = path.empty() ? "(the model's output)" : path;
}

}  // namespace atlas::inline ATLAS_ABI
