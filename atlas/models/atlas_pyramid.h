// AtlasPyramid: how the token map of an image, of any size, is cut into the windows of every scale.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "atlas/models/atlas_config.h"
#include "atlas/nn/attention_probe.h"
#include "atlas/nn/constants.h"
#include "atlas/ops/join.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/window.h"
#include "atlas/tensor/create.h"

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
               const ConstantCache* constants = nullptr, Device device = {})
      : ratio_(ratio), constants_(constants), device_(device) {
    scales_ = published(height, width, window, ratio, count);
    const int64_t several = (window + ratio - 1) / ratio * ratio;  // coarse tokens never straddle two of these
    for (int64_t h = height, w = width; scales_.size() < count;) {
      const bool coarsest = scales_.size() + 1 == count;
      const auto side = [&](int64_t length) { return coarsest || length <= several ? length : several; };
      scales_.push_back({h, w, side(h), side(w)});
      h = (h + ratio - 1) / ratio;
      w = (w + ratio - 1) / ratio;
    }
    for (size_t s = 0; s < count; ++s, stride *= ratio) {
      const WindowLayout& l = scales_[s];
      masks_.push_back(
          l.padded() ? constant({0, l.height, l.width, l.window_height, l.window_width}, [&] { return padding_of(l); })
                     : Tensor());
      strides_.push_back(stride);
    }
  }

  /// Number of scales that are left.
  size_t size() const { return scales_.size() - first_; }
  const WindowLayout& operator[](size_t s) const { return scales_[first_ + s]; }
  int64_t ratio() const { return ratio_; }
  /// bool [windows, tokens], true for padding; undefined when there is none.
  const Tensor& padding(size_t s) const { return masks_[first_ + s]; }
  /// The map of scale s > 0 cut into the pieces that lie over the windows of scale s - 1.
  WindowLayout over_finer(size_t s) const {
    const WindowLayout &fine = (*this)[s - 1], &here = (*this)[s];
    return {here.height, here.width, fine.rows() == 1 ? here.height : fine.window_height / ratio_,
            fine.columns() == 1 ? here.width : fine.window_width / ratio_};
  }
  /// The window of scale t > s that each window of scale s reads in the down pass: number i of n reads floor(i m / n)
  /// of m, in row-major order. With more than two windows a side that is not the window lying over it, but the
  /// published weights expect it.
  std::vector<int64_t> read_by(size_t s, size_t t) const {
    const int64_t n = (*this)[s].windows(), m = (*this)[t].windows();
    std::vector<int64_t> read;
    for (int64_t i = 0; i < n; ++i) read.push_back(i * m / n);
    return read;
  }
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
                                             size_t count) {
    std::vector<WindowLayout> layouts;
    if (height != width || !atlas_fits(height, window, ratio)) return layouts;
    const std::vector<AtlasScale> scales = atlas_scales(height, window, ratio);
    if (scales.size() == count)
      for (const AtlasScale s : scales) layouts.push_back({s.grid * s.side, s.grid * s.side, s.side, s.side});
    return layouts;
  }
  static Tensor padding_of(const WindowLayout& l) {
    Tensor mask = empty({l.windows(), l.pixels()}, boolean, Device{});
    bool* at = mask.data<bool>();
    for (int64_t i = 0; i < l.windows(); ++i)
      for (int64_t j = 0; j < l.pixels(); ++j)
        at[i * l.pixels() + j] = i / l.columns() * l.window_height + j / l.window_width >= l.height ||
                                 i % l.columns() * l.window_width + j % l.window_width >= l.width;
    return mask;
  }

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
inline Tensor to_windows(const Tensor& map, const WindowLayout& l) {
  return l.windows() == 1 && !l.padded() ? map.reshape({map.size(0), l.pixels(), map.size(3)})
                                         : window_partition(map, l);
}
/// The inverse of to_windows, without padding.
inline Tensor to_map(const Tensor& windows, const WindowLayout& l) {
  const int64_t batch = windows.size(0) / l.windows();
  return l.windows() == 1 && !l.padded() ? windows.reshape({batch, l.height, l.width, windows.size(2)})
                                         : window_reverse(windows, l, batch);
}
/// The same tokens cut into other windows.
inline Tensor regroup(const Tensor& windows, const WindowLayout& from, const WindowLayout& to) {
  return from == to ? windows : to_windows(to_map(windows, from), to);
}
/// Maximum over ratio x ratio tokens, to a map of height x width; cells at the edge may hold fewer.
inline Tensor pool_map(const Tensor& map, int64_t ratio, int64_t height, int64_t width) {
  const int64_t down = std::max<int64_t>(0, height * ratio - map.size(1)),
                right = std::max<int64_t>(0, width * ratio - map.size(2));
  return max_pool2d(pad(map, {0, 0, 0, 0}, {0, down, right, 0}, -std::numeric_limits<double>::infinity()), ratio);
}
/// Maximum over ratio x ratio tokens, cut into the windows of the next coarser scale.
inline Tensor pool_windows(const Tensor& windows, const WindowLayout& from, const WindowLayout& to, int64_t ratio) {
  if (from.padded() || from.window_height % ratio != 0 || from.window_width % ratio != 0)
    return to_windows(pool_map(to_map(windows, from), ratio, to.height, to.width), to);
  // No cell crosses a window: pool inside the windows, so that only the small result is rearranged.
  const int64_t h = from.window_height / ratio, w = from.window_width / ratio;
  const Tensor maps = windows.reshape({windows.size(0), from.window_height, from.window_width, windows.size(2)});
  return regroup(max_pool2d(maps, ratio).reshape({windows.size(0), h * w, windows.size(2)}),
                 {to.height, to.width, h, w}, to);
}
/// Tokens [B, L, C] of scale s in the order of its windows, without padding.
inline Tensor real_tokens(const Tensor& windows, const AtlasPyramid& pyramid, size_t s) {
  const WindowLayout& l = pyramid[s];
  const Tensor all = windows.reshape({windows.size(0) / l.windows(), -1, windows.size(2)});
  if (!l.padded()) return all;
  const Tensor index = pyramid.constant({1, l.height, l.width, l.window_height, l.window_width}, [&] {
    const Tensor padding = on_host(pyramid.padding(s));
    std::vector<int64_t> real;
    for (int64_t i = 0; i < padding.numel(); ++i)
      if (!padding.data<bool>()[i]) real.push_back(i);
    return from_vector(real);
  });
  return index_select(all, 1, index);
}
/// What the windows of scale s read of the coarser scale t.
inline KeyValue read_coarser(const AtlasPyramid& pyramid, size_t s, size_t t, const KeyValue& coarser) {
  const int64_t n = pyramid[s].windows(), m = pyramid[t].windows();
  if (n % m == 0) return coarser;  // attention() finds the window itself
  const int64_t batch = coarser.k.size(0) / m;
  const auto table = [&](int64_t images) {
    return pyramid.constant({2, n, m, images}, [&] {
      const std::vector<int64_t> read = pyramid.read_by(s, t);
      std::vector<int64_t> all;
      for (int64_t b = 0; b < images; ++b)
        for (const int64_t i : read) all.push_back(b * m + i);
      return from_vector(all);
    });
  };
  const Tensor index = table(batch);
  return {index_select(coarser.k, 0, index), index_select(coarser.v, 0, index),
          coarser.masked.defined() ? index_select(coarser.masked, 0, table(1)) : Tensor()};
}

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::models
