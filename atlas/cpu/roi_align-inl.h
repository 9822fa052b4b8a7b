// CPU kernels of RoIAlign. Bilinear weights are products of one weight per row and one per column, so a region costs
// about one pass over its pixels, however many samples a bin has.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/kernels/roi_align.h"
#include "atlas/kernels/roi_align_step.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// The weights of a region's bins along one axis: those of pixel begin[i] + k are weight[first[i] + k], k < count[i].
template <class T>
struct RoiTaps {
  std::vector<int64_t> begin, count, first;
  std::vector<T> weight;
  int64_t low = 0, high = 0;  // pixels that any bin reads

  void set(const RoiAxis& axis, int64_t bins) {
    begin.clear(), count.clear(), first.clear(), weight.clear();
    low = axis.size, high = 0;
    for (int64_t i = 0; i < bins; ++i) {
      sums_.clear();
      int64_t from = 0;
      axis.for_each_sample(i, [&](int64_t p, int64_t q, double part) {
        if (sums_.empty()) from = p;
        if (std::ssize(sums_) < q - from + 1) sums_.resize(static_cast<size_t>(q - from + 1), 0.0);
        sums_[static_cast<size_t>(p - from)] += 1 - part;
        sums_[static_cast<size_t>(q - from)] += part;
      });
      begin.push_back(from);
      count.push_back(std::ssize(sums_));
      first.push_back(std::ssize(weight));
      for (const double w : sums_) weight.push_back(static_cast<T>(w / axis.samples));
      if (sums_.empty()) continue;
      low = std::min(low, from);
      high = std::max(high, from + count.back());
    }
  }
  /// Of bin i and the pixel; 0 where the bin does not read it.
  T at(int64_t i, int64_t pixel) const {
    const auto s = static_cast<size_t>(i);
    const int64_t k = pixel - begin[s];
    return k >= 0 && k < count[s] ? weight[static_cast<size_t>(first[s] + k)] : T(0);
  }

 private:
  std::vector<double> sums_;
};

/// A region and where it lies.
struct RoiPlace {
  int64_t image;
  RoiAxis rows, columns;
};
inline RoiPlace roi_place(const double* roi, const Shape& map, const RoiAlignSetting& s, int64_t number) {
  check(roi[0] >= 0 && roi[0] < static_cast<double>(map[0]), "roi_align", "region {} is of image {}, of {} images",
        number, roi[0], map[0]);
  return {static_cast<int64_t>(roi[0]), RoiAxis(roi[2], roi[4], s.scale, s.bins, map[1]),
          RoiAxis(roi[1], roi[3], s.scale, s.bins, map[2])};
}
inline bool roi_is_of(const int64_t* levels, int64_t r, const RoiAlignSetting& s) {
  return levels == nullptr || levels[r] == s.level;
}

/// to[c] += w from[c]
template <class T, class From>
void add_weighted(int64_t n, T w, const From* __restrict from, T* __restrict to) {
  for (int64_t c = 0; c < n; ++c) to[c] += w * static_cast<T>(from[c]);
}

template <class M, class T>
void roi_align(const Tensor& map, const Tensor& rois, const int64_t* levels, const RoiAlignSetting& s, Tensor& y) {
  const Shape& shape = map.shape();
  const int64_t channels = shape[3], row = s.bins * channels;
  const M* maps = map.data<M>();
  const double* roi = rois.data<double>();
  T* out = y.data<T>();
  parallel_for(rois.size(0), 4, [&](int64_t begin, int64_t end) {
    RoiTaps<T> rows, columns;
    std::vector<T> line(static_cast<size_t>(row));
    for (int64_t r = begin; r < end; ++r) {
      if (!roi_is_of(levels, r, s)) continue;
      const RoiPlace place = roi_place(roi + 5 * r, shape, s, r);
      T* const mine = out + r * s.bins * row;
      std::fill(mine, mine + s.bins * row, T(0));
      rows.set(place.rows, s.bins);
      columns.set(place.columns, s.bins);
      for (int64_t h = rows.low; h < rows.high; ++h) {
        const M* x = maps + ((place.image * shape[1] + h) * shape[2]) * channels;
        std::fill(line.begin(), line.end(), T(0));
        for (int64_t j = 0; j < s.bins; ++j) {
          const auto t = static_cast<size_t>(j);
          for (int64_t k = 0; k < columns.count[t]; ++k)
            add_weighted(channels, columns.weight[static_cast<size_t>(columns.first[t] + k)],
                         x + (columns.begin[t] + k) * channels, line.data() + j * channels);
        }
        for (int64_t i = 0; i < s.bins; ++i)
          if (const T w = rows.at(i, h); w != T(0)) add_weighted(row, w, line.data(), mine + i * row);
      }
    }
  });
}

}  // namespace detail

ATLAS_INLINE void roi_align_forward(const Tensor& map, const Tensor& rois, const Tensor& levels,
                                    const RoiAlignSetting& setting, Tensor& y) {
  const int64_t* const level = levels.defined() ? levels.data<int64_t>() : nullptr;
  if (y.numel() == 0) return;
  if (map.dtype() == uint8) return detail::roi_align<uint8_t, double>(map, rois, level, setting, y);
  visit_float(map, "roi_align", [&](auto tag) {
    using T = decltype(tag);
    detail::roi_align<T, T>(map, rois, level, setting, y);
  });
}

// dmap[h, w] = sum over regions and bins of rows[i, h] columns[j, w] dy[i, j]. Pieces are rows of the maps, which take
// the regions in order: no two threads add to one pixel.
ATLAS_INLINE void roi_align_backward(const Tensor& dy, const Tensor& rois, const Tensor& levels,
                                     const RoiAlignSetting& s, Tensor& dmap) {
  const Shape& shape = dmap.shape();
  if (dmap.numel() == 0) return;
  const int64_t* const level = levels.defined() ? levels.data<int64_t>() : nullptr;
  const int64_t channels = shape[3], row = s.bins * channels;
  const double* roi = rois.data<double>();
  visit_float(dmap, "roi_align", [&](auto tag) {
    using T = decltype(tag);
    struct Region {
      int64_t number, image;
      detail::RoiTaps<T> rows, columns;
    };
    std::vector<Region> regions;
    for (int64_t r = 0; r < rois.size(0); ++r) {
      if (!detail::roi_is_of(level, r, s)) continue;
      const detail::RoiPlace place = detail::roi_place(roi + 5 * r, shape, s, r);
      regions.push_back({r, place.image, {}, {}});
      regions.back().rows.set(place.rows, s.bins);
      regions.back().columns.set(place.columns, s.bins);
    }
    const T* from = dy.data<T>();
    T* to = dmap.data<T>();
    parallel_for(shape[0] * shape[1], 1, [&](int64_t begin, int64_t end) {
      std::vector<T> line(static_cast<size_t>(row));
      for (int64_t bh = begin; bh < end; ++bh) {
        T* const pixels = to + bh * shape[2] * channels;
        const int64_t b = bh / shape[1], h = bh % shape[1];
        std::fill(pixels, pixels + shape[2] * channels, T(0));
        for (const Region& region : regions) {
          if (region.image != b || h < region.rows.low || h >= region.rows.high) continue;
          std::fill(line.begin(), line.end(), T(0));
          for (int64_t i = 0; i < s.bins; ++i)
            if (const T w = region.rows.at(i, h); w != T(0))
              detail::add_weighted(row, w, from + (region.number * s.bins + i) * row, line.data());
          for (int64_t j = 0; j < s.bins; ++j) {
            const auto t = static_cast<size_t>(j);
            for (int64_t k = 0; k < region.columns.count[t]; ++k)
              detail::add_weighted(channels, region.columns.weight[static_cast<size_t>(region.columns.first[t] + k)],
                                   line.data() + j * channels, pixels + (region.columns.begin[t] + k) * channels);
          }
        }
      }
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
