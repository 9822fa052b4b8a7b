// Bodies of state.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/nn/state.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor published_view(const Tensor& t, Layout layout) {
  const Shape &n = t.shape(), &step = t.strides();
  switch (layout) {
    case Layout::conv2d:
      return raw_view(t, {n[0], n[3], n[1], n[2]}, {step[0], step[3], step[1], step[2]}, t.offset());
    case Layout::conv1d_depthwise:
      return raw_view(t, {n[1], 1, n[0]}, {step[1], 1, step[0]}, t.offset());
    case Layout::plain:
      break;
  }
  return t.detach();
}

ATLAS_INLINE bool may_be_missing(std::string_view name) {
  return name == "num_batches_tracked" || name.ends_with(".num_batches_tracked");
}

ATLAS_INLINE std::string LoadReport::str() const {
  std::string text;
  const auto add = [&](std::string_view what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    text += fmt::format("{}{} {}: ", text.empty() ? "" : "; ", names.size(), what);
    const size_t shown = std::min<size_t>(names.size(), 10);
    for (size_t i = 0; i < shown; ++i) text += (i ? ", " : "") + names[i];
    if (shown < names.size()) text += fmt::format(", and {} more", names.size() - shown);
  };
  add("missing", missing);
  add("unexpected", unexpected);
  add("of another shape or kind", mismatched);
  return text;
}

}  // namespace atlas::inline ATLAS_ABI
