// Resizing of feature maps and images: nearest, bilinear and bicubic, with antialiasing.
#pragma once

#include <vector>

#include "atlas/kernels/resize.h"

namespace atlas::inline ATLAS_ABI {

/// How resize() computes a pixel between pixels.
enum class Interpolation { nearest, bilinear, bicubic };

namespace detail {

double triangle(double t);

/// Weights of one axis, with pixel centers at half-integers, or the first and last pixels' centers on each other.
ResampleTaps make_taps(int64_t in, int64_t out, Interpolation mode, bool antialias, bool align_corners = false);

/// The same weights seen from the `in` inputs. Inputs used by an output are neighbors and move forward with it, so the
/// outputs that use an input are neighbors too.
ResampleTaps transposed(const ResampleTaps& taps, int64_t in);

/// The weights of one axis as a matrix [out, in].
Tensor dense(const ResampleTaps& taps, int64_t in, DType dtype, Device device);

/// resample from plain ops: two matrix products.
Tensor resample_reference(const Tensor& x, const ResampleTaps& rows, const ResampleTaps& columns);

}  // namespace detail

/// Resizes a feature map or a batch of images to height x width.
///
/// Pixel centers lie at half-integers, as in PyTorch's interpolate. With `align_corners`, the centers of the corner
/// pixels of both maps coincide instead. With `antialias`, the filter is stretched when shrinking, as image libraries
/// do. Bicubic has a = -0.75, and a = -0.5 with antialias.
/// @param x          float32, float64 or uint8 [B, H, W, C]. uint8 is computed in float32, rounded and clamped; it has
///                   no gradient
/// @param height     new H, at least 1
/// @param width      new W, at least 1
/// @param mode       nearest, bilinear or bicubic
/// @param antialias  average over all covered pixels when shrinking (not with nearest)
/// @param align_corners  keep the corner pixels in the corners (not with nearest or antialias)
/// @return [B, height, width, C]
/// @throws Error for another number of axes, an empty map or size, and antialias or align_corners with nearest.
Tensor resize(const Tensor& x, int64_t height, int64_t width, Interpolation mode, bool antialias = false,
              bool align_corners = false);

/// Maps resized to one size and put side by side: cat({resize(maps[0], ..), resize(maps[1], ..), ...}, 3), one after
/// the other, so that the resized maps are never all there beside the result.
/// @param maps  float32 or float64 [B, h_i, w_i, C_i], at least one
/// @return [B, height, width, sum of C_i]
/// @throws Error naming the map whose dtype, device or batch is not that of map 0, and as resize().
Tensor resize_cat(const std::vector<Tensor>& maps, int64_t height, int64_t width, Interpolation mode);

/// Rows of a map, from `first` on.
struct RowSpan {
  int64_t first = 0, count = 0;
};
/// The rows of a map of `in` rows that `rows` of its resize() to `out` rows are computed from (without antialias).
/// @throws Error for a map without rows, when `rows` reach beyond the result, and for one too tall for the memory.
RowSpan rows_read(int64_t in, int64_t out, RowSpan rows, Interpolation mode);

/// `rows` of resize(map, height, width, mode), from those rows of the map that rows_read() names: a large result can be
/// made piece by piece.
/// @param x       float32 or float64 [B, h, W, C], the rows from x_first on of a map [B, x_height, W, C]
/// @return [B, rows.count, width, C]; no gradient
/// @throws Error when x lacks rows that are read, or `rows` reach beyond the result.
Tensor resize_rows(const Tensor& x, int64_t x_first, int64_t x_height, int64_t height, int64_t width, RowSpan rows,
                   Interpolation mode);

/// resize from plain ops.
Tensor resize_reference(const Tensor& x, int64_t height, int64_t width, Interpolation mode, bool antialias = false,
                        bool align_corners = false);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/resize-inl.h"
#endif
