// Bodies of atlas_pyramid.h.
#pragma once

#include <algorithm>
#include <limits>

#include "atlas/models/atlas_pyramid.h"
#include "atlas/ops/join.h"
#include "atlas/ops/pool.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::models {

ATLAS_INLINE AtlasPyramid::AtlasPyramid(int64_t height, int64_t width, int64_t window, int64_t ratio, size_t count,
                                        int64_t stride, const ConstantCache* constants, Device device)
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

ATLAS_INLINE WindowLayout AtlasPyramid::over_finer(size_t s) const {
  const WindowLayout &fine = (*this)[s - 1], &here = (*this)[s];
  return {here.height, here.width, fine.rows() == 1 ? here.height : fine.window_height / ratio_,
          fine.columns() == 1 ? here.width : fine.window_width / ratio_};
}

ATLAS_INLINE std::vector<int64_t> AtlasPyramid::read_by(size_t s, size_t t) const {
  const int64_t n = (*this)[s].windows(), m = (*this)[t].windows();
  std::vector<int64_t> read;
  for (int64_t i = 0; i < n; ++i) read.push_back(i * m / n);
  return read;
}

ATLAS_INLINE std::vector<WindowLayout> AtlasPyramid::published(int64_t height, int64_t width, int64_t window,
                                                               int64_t ratio, size_t count) {
  std::vector<WindowLayout> layouts;
  if (height != width || !atlas_fits(height, window, ratio)) return layouts;
  const std::vector<AtlasScale> scales = atlas_scales(height, window, ratio);
  if (scales.size() == count)
    for (const AtlasScale s : scales) layouts.push_back({s.grid * s.side, s.grid * s.side, s.side, s.side});
  return layouts;
}

ATLAS_INLINE Tensor AtlasPyramid::padding_of(const WindowLayout& l) {
  Tensor mask = empty({l.windows(), l.pixels()}, boolean, Device{});
  bool* at = mask.data<bool>();
  for (int64_t i = 0; i < l.windows(); ++i)
    for (int64_t j = 0; j < l.pixels(); ++j)
      at[i * l.pixels() + j] = i / l.columns() * l.window_height + j / l.window_width >= l.height ||
                               i % l.columns() * l.window_width + j % l.window_width >= l.width;
  return mask;
}

namespace detail {

ATLAS_INLINE Tensor to_windows(const Tensor& map, const WindowLayout& l) {
  return l.windows() == 1 && !l.padded() ? map.reshape({map.size(0), l.pixels(), map.size(3)})
                                         : window_partition(map, l);
}

ATLAS_INLINE Tensor to_map(const Tensor& windows, const WindowLayout& l) {
  const int64_t batch = windows.size(0) / l.windows();
  return l.windows() == 1 && !l.padded() ? windows.reshape({batch, l.height, l.width, windows.size(2)})
                                         : window_reverse(windows, l, batch);
}

ATLAS_INLINE Tensor regroup(const Tensor& windows, const WindowLayout& from, const WindowLayout& to) {
  return from == to ? windows : to_windows(to_map(windows, from), to);
}

ATLAS_INLINE Tensor pool_map(const Tensor& map, int64_t ratio, int64_t height, int64_t width) {
  const int64_t down = std::max<int64_t>(0, height * ratio - map.size(1)),
                right = std::max<int64_t>(0, width * ratio - map.size(2));
  return max_pool2d(pad(map, {0, 0, 0, 0}, {0, down, right, 0}, -std::numeric_limits<double>::infinity()), ratio);
}

ATLAS_INLINE Tensor pool_windows(const Tensor& windows, const WindowLayout& from, const WindowLayout& to,
                                 int64_t ratio) {
  if (from.padded() || from.window_height % ratio != 0 || from.window_width % ratio != 0)
    return to_windows(pool_map(to_map(windows, from), ratio, to.height, to.width), to);
  // No cell crosses a window: pool inside the windows, so that only the small result is rearranged.
  const int64_t h = from.window_height / ratio, w = from.window_width / ratio;
  const Tensor maps = windows.reshape({windows.size(0), from.window_height, from.window_width, windows.size(2)});
  return regroup(max_pool2d(maps, ratio).reshape({windows.size(0), h * w, windows.size(2)}),
                 {to.height, to.width, h, w}, to);
}

ATLAS_INLINE Tensor real_tokens(const Tensor& windows, const AtlasPyramid& pyramid, size_t s) {
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

ATLAS_INLINE KeyValue read_coarser(const AtlasPyramid& pyramid, size_t s, size_t t, const KeyValue& coarser) {
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
