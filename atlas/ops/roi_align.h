// RoIAlign: rectangles of feature maps as small maps of one size.
#pragma once

#include <cstdint>
#include <vector>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// How roi_align() reads a pyramid.
struct RoiAlignOptions {
  int64_t bins = 7;             ///< a side of the result, at least 1
  std::vector<double> strides;  ///< pixels of the image per pixel of each map
  double finest = 56;  ///< side in pixels up to twice which a region is read from the first map; see roi_levels()
};

/// Level of a pyramid that each region is read from: floor(log2(√(width height) / finest)), within [0, levels).
///
/// Lin et al., "Feature pyramid networks for object detection", CVPR 2017, equation 1.
/// @param rois    float32 or float64 [R, 5]: image, left, top, right, bottom in pixels of the image
/// @param levels  how many, at least 1
/// @return int64 [R]
/// @throws Error for other shapes, no level, and a `finest` that is not positive.
ATLAS_INLINE Tensor roi_levels(const Tensor& rois, int64_t levels, double finest);

/// Means of bilinear samples in bins x bins equal parts of each region (He et al., "Mask R-CNN", ICCV 2017), aligned:
/// pixel centers are at half-integers. Along an axis, a bin of length l on the map has ceil(l) samples.
///
/// y[r, i, j, c] = mean over samples s of bin (i, j) of map[image, s, c]; samples more than a pixel outside count as 0.
/// No gradient goes to the regions.
/// @param map    float32 or float64 [B, H, W, C], or uint8, which gives float64 and has no gradient
/// @param rois   float32 or float64 [R, 5]: image, left, top, right, bottom in pixels of the image
/// @param bins   a side, at least 1
/// @param scale  pixels of the map per pixel of the image: 1 / stride
/// @return [R, bins, bins, C]; zeros for empty and inverted regions
/// @throws Error when shapes or dtypes do not fit, or (on the CPU) a region is of an image that is not there.
ATLAS_INLINE Tensor roi_align(const Tensor& map, const Tensor& rois, int64_t bins, double scale);

/// The same from a pyramid: each region from the map of its roi_levels().
/// @param maps  [B, H_i, W_i, C] of one batch, dtype and number of channels, fine to coarse, as many as strides
/// @param rois  as above
/// @return [R, bins, bins, C]
/// @throws Error as above, and when maps do not fit each other or the strides.
ATLAS_INLINE Tensor roi_align(const std::vector<Tensor>& maps, const Tensor& rois, const RoiAlignOptions& options);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/roi_align-inl.h"
#endif
