// Bodies of container.h.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "atlas/nn/activation.h"
#include "atlas/nn/container.h"
#include "atlas/nn/conv_norm.h"
#include "atlas/nn/module.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/print.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor Sequential::forward(const Tensor& x) const {
  Tensor y = x;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Pair& pair = pairs_[i];
    if (!pair.conv_norm) {
      y = (*layers_[i])(std::move(y));
    } else if (pair.activation != Activation::none) {
      y = detail::joined_unless_watched([&] { return (*pair.conv_norm)(y, pair.activation); },
                                        [&] { return (*layers_[i + 2])((*pair.conv_norm)(y)); });
      i += 2;
    } else {
      y = (*pair.conv_norm)(y);
      i += 1;
    }
  }
  return y;
}

ATLAS_INLINE std::vector<std::pair<size_t, size_t>> Sequential::joined() const {
  std::vector<std::pair<size_t, size_t>> groups;
  for (size_t i = 0; i < pairs_.size(); ++i)
    if (pairs_[i].conv_norm) groups.emplace_back(i, pairs_[i].activation == Activation::none ? 2 : 3);
  return groups;
}

ATLAS_INLINE Module& Sequential::operator[](size_t i) const {
  check(i < layers_.size(), "Sequential", "layer {} of {}", i, layers_.size());
  return *layers_[i];
}

}  // namespace atlas::inline ATLAS_ABI
