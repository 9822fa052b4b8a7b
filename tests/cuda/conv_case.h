// Convolutions as tests describe them.
#pragma once

#include <vector>

#include "atlas/kernels/conv_shape.h"

namespace test {

using namespace atlas;

struct ConvCase {
  int64_t batch, height, width, in, out;
  Conv2dShape::Pair kernel{3, 3}, stride{1, 1}, padding{1, 1}, dilation{1, 1};
  int64_t groups = 1;
};

inline Conv2dShape shape_of(const ConvCase& c) {
  Conv2dShape s;
  s.batch = c.batch;
  s.in_channels = c.in;
  s.out_channels = c.out;
  s.groups = c.groups;
  s.in = {c.height, c.width};
  s.kernel = c.kernel;
  s.stride = c.stride;
  s.padding = c.padding;
  s.dilation = c.dilation;
  for (size_t i = 0; i < 2; ++i)
    s.out[i] = (s.in[i] + 2 * s.padding[i] - s.dilation[i] * (s.kernel[i] - 1) - 1) / s.stride[i] + 1;
  return s;
}

/// Convolutions whose forward pass, input gradient or both conv_hopper.cu takes on Hopper GPUs.
inline std::vector<ConvCase> hopper_cases() {
  return {{8, 7, 7, 128, 192},                           // boxes of five images, the last one fuller than the batch
          {9, 4, 28, 64, 128},                           // of one line of nine images
          {1, 16, 15, 160, 128},                         // channels behind the last slice, and tile
          {2, 13, 19, 64, 256},                          // two tiles of channels
          {1, 23, 11, 64, 192},                          // one box of odd sides
          {1, 30, 33, 64, 128},                          // boxes that reach over the edges
          {1, 18, 17, 64, 128, {3, 3}, {1, 1}, {0, 0}},  // no padding
          {1, 16, 16, 64, 128, {5, 3}, {1, 1}, {2, 1}},  // another kernel
          {1, 16, 16, 128, 128, {3, 3}, {1, 1}, {2, 2}, {2, 2}},  // dilation
          {2, 15, 32, 128, 64, {3, 3}, {2, 2}}};                  // input gradient in phases
}

}  // namespace test
