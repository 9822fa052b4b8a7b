// Boxes: overlaps, coding, anchors, suppression, assignment and sampling, as detectors use them.
//
// A box is left, top, right, bottom in pixels; pixel (y, x) covers the square from (x, y) to (x + 1, y + 1), so a width
// is right - left.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "atlas/core/rng.h"
#include "atlas/ops/loss.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// (right - left) (bottom - top) of boxes [..., 4]   -> [...]
ATLAS_INLINE Tensor box_area(const Tensor& boxes);

/// IoU of every pair of boxes: area of the intersection / area of the union, of which less than 1e-6 counts as 1e-6.
/// @param a, b  float32 or float64 [N, 4], [M, 4]   @return [N, M]
/// @throws Error for other shapes, and when dtype or device differ.
ATLAS_INLINE Tensor pairwise_iou(const Tensor& a, const Tensor& b);

/// IoU of boxes row by row.   [N, 4], [N, 4] -> [N]
ATLAS_INLINE Tensor box_iou(const Tensor& a, const Tensor& b);

/// Generalized IoU row by row: IoU - (hull - union) / hull, with the smallest box around both as hull (Rezatofighi et
/// al., CVPR 2019).   [N, 4], [N, 4] -> [N]
ATLAS_INLINE Tensor generalized_iou(const Tensor& a, const Tensor& b);

/// 1 - IoU row by row, reduced. @throws Error when shapes differ, and for the mean over no box.
ATLAS_INLINE Tensor iou_loss(const Tensor& a, const Tensor& b, Reduction reduction = Reduction::mean);
/// 1 - generalized_iou(a, b), reduced; errors as iou_loss().
ATLAS_INLINE Tensor giou_loss(const Tensor& a, const Tensor& b, Reduction reduction = Reduction::mean);

/// What deltas of boxes are divided by: x, y, width, height.
using BoxStds = std::array<double, 4>;

/// Shift of the center in sizes of the box, and logarithm of the ratio of sizes, divided by stds: what moves `boxes` to
/// `goals` (Girshick et al., "Rich feature hierarchies", 2014, appendix C).   [N, 4], [N, 4] -> [N, 4]
ATLAS_INLINE Tensor encode_boxes(const Tensor& boxes, const Tensor& goals, const BoxStds& stds = {1, 1, 1, 1});

/// The inverse of encode_boxes(). Ratios of sizes stay within 16 / 1000 and 1000 / 16.
/// @param deltas  [N, 4 K]: K sets for each box
/// @param clip    height and width of the image that boxes are cut to; none with {0, 0}
/// @return [N, 4 K]
ATLAS_INLINE Tensor decode_boxes(const Tensor& boxes, const Tensor& deltas, const BoxStds& stds = {1, 1, 1, 1},
                                 std::array<int64_t, 2> clip = {0, 0});

/// Boxes centered on the upper left pixel (x stride, y stride) of each cell of a map, cell by cell in row-major order.
/// @param ratios  heights / widths; anchors of area (stride scale)^2 for each
/// @return float64 [height width ratios, 4]
/// @throws Error for a stride, scale or ratio that is not positive, and lengths below 0.
ATLAS_INLINE Tensor grid_anchors(int64_t height, int64_t width, double stride, double scale,
                                 const std::vector<double>& ratios);

/// Non-maximum suppression: numbers of the boxes that stay, best first. A box goes when its IoU with a better one that
/// stays is above the threshold; among equal scores the earlier is better. No gradient; waits for the device.
/// @param boxes   float32 or float64 [N, 4]   @param scores  [N]
/// @param groups  int64 [N] (classes, levels): boxes suppress those of their own group alone; undefined: all are of one
/// @return int64 [K]
/// @throws Error for shapes that do not fit and a threshold outside [0, 1].
ATLAS_INLINE Tensor nms(const Tensor& boxes, const Tensor& scores, double threshold, const Tensor& groups = {});

/// Limits of assign().
struct AssignOptions {
  double positive = 0.5;    ///< least IoU of a match
  double negative = 0.5;    ///< boxes whose best IoU is below are background
  double low_quality = -1;  ///< truths whose best IoU is at least this take all boxes that reach it; negative: none
};
inline constexpr int64_t kBackground = -1, kNeither = -2;

/// Which truth each box shall find, by overlap: the one of largest IoU (the earlier among equals) when that is at least
/// `positive`, kBackground below `negative`, kNeither between. Then truths take their own (`low_quality`), later ones
/// before earlier ones. No gradient.
/// @param boxes  float32 or float64 [N, 4]   @param truths  [G, 4]; none makes all boxes background
/// @return int64 [N]
ATLAS_INLINE Tensor assign_boxes(const Tensor& boxes, const Tensor& truths, const AssignOptions& options = {});

/// Rows chosen for training, ascending.
struct BoxSamples {
  std::vector<int64_t> positive, negative;
};
/// At most count · fraction of the rows that were assigned a truth, and as much background as is missing to `count`.
///
/// By chance: row i has the random number of counter i, and the smallest win, so the choice depends on the generator
/// and the rows alone. By rule: of n candidates the k numbers floor(i n / k).
/// @param assigned   of assign_boxes(), on the host or a device, which is waited for
/// @param generator  two of its streams are taken; null for the fixed rule
ATLAS_INLINE BoxSamples sample_boxes(const Tensor& assigned, int64_t count, double fraction,
                                     Generator* generator = nullptr);

/// Masks of objects as seen by boxes: each cut out to size x size by roi_align(); 1 where at least half is covered.
/// @param masks  uint8 [G, H, W] of zeros and ones   @param boxes  [N, 4]   @param which  int64 [N], the mask of each
/// @return uint8 [N, size, size]
/// @throws Error for other shapes or dtypes, and a size below 1.
ATLAS_INLINE Tensor mask_targets(const Tensor& masks, const Tensor& boxes, const Tensor& which, int64_t size);

/// Masks stretched over their boxes in an image: bilinear, 0 outside. An empty box pastes nothing.
/// @param masks  float32 or float64 [N, S, S']   @param boxes  [N, 4] in pixels of the image
/// @return [N, height, width]
/// @throws Error for other shapes, and when height or width is below 0.
ATLAS_INLINE Tensor paste_masks(const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width);
/// The same as uint8: 1 where the mask is at least `threshold`.
ATLAS_INLINE Tensor paste_masks(const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width,
                                double threshold);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/boxes-inl.h"
#endif
