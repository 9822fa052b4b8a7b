// AtlasPyramid: how the token map of an image, of any size, is cut into the windows of every scale.
#pragma once

#include <vector>

#include "atlas/models/atlas_config.h"
#include "atlas/nn/attention_probe.h"
#include "atlas/nn/constants.h"
#include "atlas/ops/window.h"

namespace atlas::inline ATLAS_ABI::models {

/// The scales of one image, fine to coarse.
///
/// A map of h x w tokens has `count` scales, as many as the model has weights for; each is `ratio` times smaller than
/// the one before, rounded up, so that a coarse token stands for up to ratio x ratio fine ones that are there. Along
/// each axis, a scale that is at most `window` long is one window of its own length; a longer one is cut into windows
/// of `window` tokens (rounded up to a multiple of `ratio`), the last of which may reach beyond the map. The coarsest
/// scale is always one window, so that every window has the whole image in sight. What lies beyond the map is padding:
/// it is masked out as keys, and neither pooled nor read out. Square maps that the published rule (atlas_scales()) cuts
/// without remainder are cut by it, and have no padding.
class AtlasPyramid {
 public:
  /// @param height, width  of the finest map, in tokens
  /// @param count          number of scales
  /// @param stride         pixels of the image per token of the finest map
  /// @param constants      keeps masks and index tables between passes; null: they are made anew
  /// @param device         of the images
  AtlasPyramid(int64_t height, int64_t width, int64_t window, int64_t ratio, size_t count, int64_t stride,
               const ConstantCache* constants = nullptr, Device device = {});

  /// Number of scales that are left.
  size_t size() const { return scales_.size() - first_; }
  const WindowLayout& operator[](size_t s) const { return scales_[first_ + s]; }
  int64_t ratio() const { return ratio_; }
  /// bool [windows, tokens], true for padding; undefined when there is none.
  const Tensor& padding(size_t s) const { return masks_[first_ + s]; }
  /// The map of scale s > 0 cut into the pieces that lie over the windows of scale s - 1.
  WindowLayout over_finer(size_t s) const;
  /// The window of scale t > s that each window of scale s reads in the down pass: number i of n reads floor(i m / n)
  /// of m, in row-major order. With more than two windows a side that is not the window lying over it, but the
  /// published weights expect it.
  std::vector<int64_t> read_by(size_t s, size_t t) const;
  /// Where the tokens of scale s lie in the image, cut by its windows or another layout.
  TokenPlace place(size_t s, const WindowLayout& layout) const { return {layout, strides_[first_ + s], first_ + s}; }
  TokenPlace place(size_t s) const { return place(s, (*this)[s]); }

  /// A tensor that depends on `key` alone, on the device of the images (see ConstantCache).
  template <class F>
  Tensor constant(const std::vector<int64_t>& key, F&& make) const {
    return constants_ != nullptr ? constants_->get(device_, key, make) : Tensor(make()).to(device_);
  }

  /// Forgets the finest scale.
  void drop_finest() { ++first_; }

 private:
  /// The published layout, where it exists.
  static std::vector<WindowLayout> published(int64_t height, int64_t width, int64_t window, int64_t ratio,
                                             size_t count);
  static Tensor padding_of(const WindowLayout& l);

  int64_t ratio_;
  const ConstantCache* constants_;
  Device device_;
  size_t first_ = 0;  // scales that were dropped
  std::vector<WindowLayout> scales_;
  std::vector<Tensor> masks_;
  std::vector<int64_t> strides_;
};

namespace detail {

/// [B, H, W, C] -> [B windows, tokens, C]; nothing moves when the map is one window.
Tensor to_windows(const Tensor& map, const WindowLayout& l);
/// The inverse of to_windows, without padding.
Tensor to_map(const Tensor& windows, const WindowLayout& l);
/// The same tokens cut into other windows.
Tensor regroup(const Tensor& windows, const WindowLayout& from, const WindowLayout& to);
/// Maximum over ratio x ratio tokens, to a map of height x width; cells at the edge may hold fewer.
Tensor pool_map(const Tensor& map, int64_t ratio, int64_t height, int64_t width);
/// Maximum over ratio x ratio tokens, cut into the windows of the next coarser scale.
Tensor pool_windows(const Tensor& windows, const WindowLayout& from, const WindowLayout& to, int64_t ratio);
/// Tokens [B, L, C] of scale s in the order of its windows, without padding.
Tensor real_tokens(const Tensor& windows, const AtlasPyramid& pyramid, size_t s);
/// What the windows of scale s read of the coarser scale t.
KeyValue read_coarser(const AtlasPyramid& pyramid, size_t s, size_t t, const KeyValue& coarser);

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/atlas_pyramid-inl.h"
#endif
