// Bodies of ops/roi_align.h.
#pragma once

#include <cmath>

#include "atlas/autograd/node.h"
#include "atlas/kernels/roi_align.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/roi_align.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

inline void check_rois(const char* op, const Tensor& rois) {
  check(rois.defined() && rois.dim() == 2 && rois.size(1) == 5, op,
        "rois must be [R, 5]: image, left, top, right, bottom, got {}", describe(rois));
  check_float(rois, op);
}

/// The op behind both forms; without levels there is one map.
inline Tensor roi_align_levels(const std::vector<Tensor>& maps, const Tensor& rois, const Tensor& levels, int64_t bins,
                               const std::vector<double>& scales) {
  const char* const op = "roi_align";
  check(bins >= 1, op, "needs at least 1 bin a side, got {}", bins);
  check_rois(op, rois);
  for (const Tensor& map : maps) {
    check(map.defined() && map.dim() == 4, op, "a map needs four axes [B, H, W, C], got {}", describe(map));
    check_dtype(map, op, takes::uint8);
    check(map.dtype() == maps[0].dtype() && map.size(0) == maps[0].size(0) && map.size(3) == maps[0].size(3), op,
          "the maps differ in dtype, batch or channels: {} and {}", describe(maps[0]), describe(map));
  }
  for (const double scale : scales)
    check(scale > 0 && std::isfinite(scale), op, "a map's scale must be positive, got {}", scale);
  const Tensor places = rois.detach().to(float64).contiguous();
  const DType type = maps[0].dtype() == uint8 ? float64 : maps[0].dtype();
  const Shape shape{rois.size(0), bins, bins, maps[0].size(3)};
  check_memory(op, shape, item_size(type), maps[0].device());
  Tensor y = empty(shape, type, maps[0].device());
  std::vector<Shape> shapes;
  for (size_t i = 0; i < maps.size(); ++i) {
    const int64_t level = levels.defined() ? static_cast<int64_t>(i) : -1;
    kernels::roi_align_forward(maps[i].contiguous(), places, levels, {bins, scales[i], level}, y);
    shapes.push_back(maps[i].shape());
  }
  if (maps[0].dtype() == uint8) return y;
  return record(op, y, maps, [=](const Tensor& dy) {
    // y is linear in the maps: dmap[p] = sum over bins of (weight of p in the bin) dy[bin]. Overwrites.
    const Tensor g = dy.contiguous();
    Grads grads;
    for (size_t i = 0; i < shapes.size(); ++i) {
      Tensor dmap = empty(shapes[i], g.dtype(), g.device());
      const int64_t level = levels.defined() ? static_cast<int64_t>(i) : -1;
      kernels::roi_align_backward(g, places, levels, {bins, scales[i], level}, dmap);
      grads.push_back(std::move(dmap));
    }
    return grads;
  });
}

}  // namespace detail

ATLAS_INLINE Tensor roi_levels(const Tensor& rois, int64_t levels, double finest) {
  const char* const op = "roi_levels";
  detail::check_rois(op, rois);
  check(levels >= 1 && finest > 0, op, "needs at least one level and a positive finest side, got {} and {}", levels,
        finest);
  const Tensor r = rois.detach().to(float64);
  const Tensor width = r.slice(1, 3, 4) - r.slice(1, 1, 2), height = r.slice(1, 4, 5) - r.slice(1, 2, 3);
  const Tensor side = sqrt(maximum(width * height, 0.0));
  const Tensor level = floor(log(side / finest + 1e-6) * (1 / std::log(2.0)));
  return clamp(level, 0, static_cast<double>(levels - 1)).to(int64).reshape({rois.size(0)});
}

ATLAS_INLINE Tensor roi_align(const Tensor& map, const Tensor& rois, int64_t bins, double scale) {
  return detail::roi_align_levels({map}, rois, {}, bins, {scale});
}

ATLAS_INLINE Tensor roi_align(const std::vector<Tensor>& maps, const Tensor& rois, const RoiAlignOptions& options) {
  check(!maps.empty() && maps.size() == options.strides.size(), "roi_align", "{} maps, but {} strides", maps.size(),
        options.strides.size());
  std::vector<double> scales;
  for (const double stride : options.strides) scales.push_back(1 / stride);
  const Tensor levels = roi_levels(rois, std::ssize(maps), options.finest);
  return detail::roi_align_levels(maps, rois, levels, options.bins, scales);
}

}  // namespace atlas::inline ATLAS_ABI
