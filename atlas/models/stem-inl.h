// Bodies of stem.h.
#pragma once

#include "atlas/models/stem.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

ATLAS_INLINE void add_patch_stem(Sequential& to, int64_t in_dim, int64_t dim) {
  to.add<Conv2d>(3, in_dim, 3, conv3x3(2), false);
  to.add<BatchNorm2d>(in_dim, 1e-4);
  to.add<ReLU>();
  to.add<Conv2d>(in_dim, dim, 3, conv3x3(2), false);
  to.add<BatchNorm2d>(dim, 1e-4);
  to.add<ReLU>();
}

}  // namespace detail

ATLAS_INLINE AtlasStemBlock::AtlasStemBlock(int64_t dim) {
  conv_block1.add<Conv2d>(dim, dim, 3, detail::conv3x3(1));
  conv_block1.add<BatchNorm2d>(dim);
  conv_block1.add<GELU>();
  const auto& conv = conv_block2.add<Conv2d>(dim, dim, 3, detail::conv3x3(1));
  second_.emplace(conv, conv_block2.add<BatchNorm2d>(dim));
  register_modules({{"conv_block1", conv_block1}, {"conv_block2", conv_block2}});
}

ATLAS_INLINE Tensor AtlasStemBlock::forward(const Tensor& x) const {
  const Tensor y = conv_block1(x);
  return (*second_)(y, Activation::none, x);
}

ATLAS_INLINE AtlasStemDownsample::AtlasStemDownsample(int64_t dim)
    : norm(dim, 1e-6), conv(dim, 2 * dim, 3, detail::conv3x3(2), false) {
  register_modules({{"norm", norm}, {"conv", conv}});
}

ATLAS_INLINE Tensor AtlasStemDownsample::forward(const Tensor& x) const {
  const Tensor y = norm(x);
  return conv(y);
}

ATLAS_INLINE AtlasStem::AtlasStem(int64_t stem_dim, int64_t dim, int64_t patch) {
  const int64_t d = dim * 4 / patch;
  detail::add_patch_stem(conv0, stem_dim, d);
  register_module("conv0", conv0);
  if (patch >= 8) {
    for (int i = 0; i < 3; ++i) conv1.add<AtlasStemBlock>(d);
    register_modules({{"conv1", conv1}, {"ds1", ds1.emplace(d)}});
  }
  if (patch == 16) {
    for (int i = 0; i < 3; ++i) conv2.add<AtlasStemBlock>(2 * d);
    register_modules({{"conv2", conv2}, {"ds2", ds2.emplace(2 * d)}});
  }
}

ATLAS_INLINE Tensor AtlasStem::forward(const Tensor& x, std::vector<Tensor>* finer) const {
  Tensor y = conv0(x);
  if (ds1) {
    y = conv1(y);
    if (finer != nullptr) finer->push_back(y);
    y = (*ds1)(y);
  }
  if (ds2) {
    y = conv2(y);
    if (finer != nullptr) finer->push_back(y);
    y = (*ds2)(y);
  }
  return y;
}

}  // namespace atlas::inline ATLAS_ABI::models
