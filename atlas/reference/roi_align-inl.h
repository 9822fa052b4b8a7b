// The plain kernels of RoIAlign.
#pragma once

#include <algorithm>

#include "atlas/kernels/roi_align.h"
#include "atlas/reference/roi_align.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

/// Calls f(region, image, rows, columns) for each region of the level.
template <class F>
void for_each_roi(const Shape& map, const Tensor& rois, const Tensor& levels, const RoiAlignSetting& s, const F& f) {
  for (int64_t r = 0; r < rois.size(0); ++r) {
    const double* roi = rois.data<double>() + 5 * r;
    if (levels.defined() && levels.data<int64_t>()[r] != s.level) continue;
    check(roi[0] >= 0 && roi[0] < static_cast<double>(map[0]), "roi_align", "region {} is of image {}, of {} images", r,
          roi[0], map[0]);
    f(r, static_cast<int64_t>(roi[0]), RoiAxis(roi[2], roi[4], s.scale, s.bins, map[1]),
      RoiAxis(roi[1], roi[3], s.scale, s.bins, map[2]));
  }
}

ATLAS_INLINE void roi_align_forward(const Tensor& map, const Tensor& rois, const Tensor& levels,
                                    const RoiAlignSetting& s, Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t pixels = map.size(1) * map.size(2), channels = map.size(3);
  for_each_roi(
      map.shape(), rois, levels, s, [&](int64_t r, int64_t image, const RoiAxis& rows, const RoiAxis& columns) {
        const int64_t to = r * s.bins * s.bins * channels, from = image * pixels * channels;
        if (map.dtype() == uint8)
          return reference::roi_align_forward(rows, columns, s.bins, channels, map.data<uint8_t>() + from,
                                              y.data<double>() + to);
        visit_float(map, "roi_align", [&](auto tag) {
          using T = decltype(tag);
          reference::roi_align_forward(rows, columns, s.bins, channels, map.data<T>() + from, y.data<T>() + to);
        });
      });
}

ATLAS_INLINE void roi_align_backward(const Tensor& dy, const Tensor& rois, const Tensor& levels,
                                     const RoiAlignSetting& s, Tensor& dmap) {
  if (dmap.numel() == 0) return;
  const int64_t pixels = dmap.size(1) * dmap.size(2), channels = dmap.size(3);
  visit_float(dmap, "roi_align", [&](auto tag) {
    using T = decltype(tag);
    std::fill(dmap.data<T>(), dmap.data<T>() + dmap.numel(), T(0));
    for_each_roi(
        dmap.shape(), rois, levels, s, [&](int64_t r, int64_t image, const RoiAxis& rows, const RoiAxis& columns) {
          reference::roi_align_backward(rows, columns, s.bins, channels, dy.data<T>() + r * s.bins * s.bins * channels,
                                        dmap.data<T>() + image * pixels * channels);
        });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
