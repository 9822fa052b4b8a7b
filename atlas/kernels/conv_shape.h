// The lengths of a two-dimensional convolution.
#pragma once

#include <array>
#include <cstdint>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// All lengths of a two-dimensional convolution; pairs are {vertical, horizontal}.
struct Conv2dShape {
  using Pair = std::array<int64_t, 2>;
  int64_t batch = 0, in_channels = 0, out_channels = 0, groups = 1;
  Pair in{}, out{}, kernel{}, stride{1, 1}, padding{}, dilation{1, 1};

  int64_t in_pixels() const { return batch * in[0] * in[1]; }
  int64_t out_pixels() const { return batch * out[0] * out[1]; }
  int64_t group_in() const { return in_channels / groups; }
  int64_t group_out() const { return out_channels / groups; }
  /// Length of one filter: the depth of the product that computes the convolution.
  int64_t depth() const { return kernel[0] * kernel[1] * group_in(); }
  /// Floating-point operations of the plain sum, a multiply-add counted as two.
  double flops() const { return 2.0 * static_cast<double>(out_pixels() * depth()) * static_cast<double>(out_channels); }
  /// One filter per channel.
  bool depthwise() const { return groups == in_channels && groups == out_channels && groups > 1; }
  /// The convolution is a plain matrix product.
  bool pointwise() const {
    return kernel == Pair{1, 1} && stride == Pair{1, 1} && padding == Pair{0, 0} && groups == 1;
  }
};

}  // namespace atlas::inline ATLAS_ABI
