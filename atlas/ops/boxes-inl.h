// Bodies of ops/boxes.h.
#pragma once

#include <algorithm>
#include <cmath>

#include "atlas/kernels/nms.h"
#include "atlas/kernels/paste_masks.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/boxes.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/index.h"
#include "atlas/ops/join.h"
#include "atlas/ops/order.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/roi_align.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

inline void check_boxes(const char* op, const char* what, const Tensor& boxes) {
  check(boxes.defined() && boxes.dim() >= 1 && boxes.size(-1) == 4, op,
        "{} must be [..., 4]: left, top, right, bottom, got {}", what, describe(boxes));
  check_float(boxes, op);
}
inline void check_rows_of_boxes(const char* op, const Tensor& a, const Tensor& b) {
  check_boxes(op, "a", a);
  check_boxes(op, "b", b);
  check(a.dim() == 2 && b.dim() == 2 && a.dtype() == b.dtype(), op,
        "needs two lists of boxes [N, 4] of one dtype, got {} and {}", describe(a), describe(b));
}
inline Tensor corner(const Tensor& boxes, int64_t first) { return boxes.slice(-1, first, first + 2); }
inline Tensor extent(const Tensor& boxes) { return corner(boxes, 2) - corner(boxes, 0); }
/// Product over the last axis, of length 2.
inline Tensor both(const Tensor& sides) { return sides.select(-1, 0) * sides.select(-1, 1); }

inline Tensor box_intersection_of(const Tensor& a, const Tensor& b) {
  return both(maximum(minimum(corner(a, 2), corner(b, 2)) - maximum(corner(a, 0), corner(b, 0)), 0.0));
}
/// @throws Error for the mean over no box.
inline Tensor reduced(const char* op, const Tensor& x, Reduction reduction) {
  check(reduction != Reduction::mean || x.numel() > 0, op, "the mean over nothing is undefined: {}", describe(x));
  return reduction == Reduction::none ? x : reduction == Reduction::sum ? sum(x) : mean(x);
}
inline Tensor numbers_like(const std::vector<double>& values, const Shape& shape, const Tensor& like) {
  return from_vector(values, shape, Device{}).to(like.dtype()).to(like.device());
}

}  // namespace detail

ATLAS_INLINE Tensor box_area(const Tensor& boxes) {
  detail::check_boxes("box_area", "boxes", boxes);
  return detail::both(detail::extent(boxes));
}

ATLAS_INLINE Tensor pairwise_iou(const Tensor& a, const Tensor& b) {
  detail::check_rows_of_boxes("pairwise_iou", a, b);
  const Tensor inter = detail::box_intersection_of(a.unsqueeze(1), b.unsqueeze(0));
  return inter / maximum(box_area(a).unsqueeze(1) + box_area(b).unsqueeze(0) - inter, 1e-6);
}

ATLAS_INLINE Tensor box_iou(const Tensor& a, const Tensor& b) {
  detail::check_rows_of_boxes("box_iou", a, b);
  check(a.size(0) == b.size(0), "box_iou", "needs as many boxes in b {} as in a {}", describe(b), describe(a));
  const Tensor inter = detail::box_intersection_of(a, b);
  return inter / maximum(box_area(a) + box_area(b) - inter, 1e-6);
}

ATLAS_INLINE Tensor generalized_iou(const Tensor& a, const Tensor& b) {
  detail::check_rows_of_boxes("generalized_iou", a, b);
  check(a.size(0) == b.size(0), "generalized_iou", "needs as many boxes in b {} as in a {}", describe(b), describe(a));
  const Tensor inter = detail::box_intersection_of(a, b);
  const Tensor all = maximum(box_area(a) + box_area(b) - inter, 1e-6);
  const Tensor sides = maximum(
      maximum(detail::corner(a, 2), detail::corner(b, 2)) - minimum(detail::corner(a, 0), detail::corner(b, 0)), 0.0);
  const Tensor hull = maximum(detail::both(sides), 1e-6);
  return inter / all - (hull - all) / hull;
}

ATLAS_INLINE Tensor iou_loss(const Tensor& a, const Tensor& b, Reduction reduction) {
  return detail::reduced("iou_loss", 1.0 - box_iou(a, b), reduction);
}
ATLAS_INLINE Tensor giou_loss(const Tensor& a, const Tensor& b, Reduction reduction) {
  return detail::reduced("giou_loss", 1.0 - generalized_iou(a, b), reduction);
}

ATLAS_INLINE Tensor encode_boxes(const Tensor& boxes, const Tensor& goals, const BoxStds& stds) {
  detail::check_rows_of_boxes("encode_boxes", boxes, goals);
  check(boxes.size(0) == goals.size(0), "encode_boxes", "{} boxes and {} goals", boxes.size(0), goals.size(0));
  const Tensor size = detail::extent(boxes), goal_size = detail::extent(goals);
  const Tensor shift =
      (detail::corner(goals, 0) + detail::corner(goals, 2) - detail::corner(boxes, 0) - detail::corner(boxes, 2)) /
      2.0 / size;
  const Tensor scale = detail::numbers_like({stds.begin(), stds.end()}, {4}, boxes);
  return cat({shift, log(goal_size / size)}, 1) / scale;
}

ATLAS_INLINE Tensor decode_boxes(const Tensor& boxes, const Tensor& deltas, const BoxStds& stds,
                                 std::array<int64_t, 2> clip) {
  const char* const op = "decode_boxes";
  detail::check_boxes(op, "boxes", boxes);
  check(deltas.defined() && deltas.dim() == 2 && boxes.dim() == 2 && deltas.size(0) == boxes.size(0) &&
            deltas.size(1) % 4 == 0 && deltas.size(1) > 0 && deltas.dtype() == boxes.dtype(),
        op, "deltas must be [N, 4 K] for boxes [N, 4], of one dtype, got {} and {}", describe(deltas), describe(boxes));
  const double limit = std::log(1000.0 / 16);
  const Tensor scale = detail::numbers_like({stds.begin(), stds.end()}, {4}, boxes);
  const Tensor d = deltas.reshape({deltas.size(0), deltas.size(1) / 4, 4}) * scale;
  const Tensor size = detail::extent(boxes).unsqueeze(1);
  const Tensor center = ((detail::corner(boxes, 0) + detail::corner(boxes, 2)) / 2.0).unsqueeze(1);
  const Tensor half = size * exp(clamp(detail::corner(d, 2), -limit, limit)) / 2.0;
  const Tensor middle = center + size * detail::corner(d, 0);
  Tensor out = cat({middle - half, middle + half}, 2);
  if (clip[0] > 0 || clip[1] > 0) {
    const auto h = static_cast<double>(clip[0]), w = static_cast<double>(clip[1]);
    out = minimum(maximum(out, 0.0), detail::numbers_like({w, h, w, h}, {4}, boxes));
  }
  return out.reshape(deltas.shape());
}

ATLAS_INLINE Tensor grid_anchors(int64_t height, int64_t width, double stride, double scale,
                                 const std::vector<double>& ratios) {
  check(height >= 0 && width >= 0 && stride > 0 && scale > 0, "grid_anchors",
        "needs a map, a positive stride and a positive scale, got {} x {}, {}, {}", height, width, stride, scale);
  for (const double ratio : ratios)
    check(ratio > 0 && std::isfinite(ratio), "grid_anchors", "a ratio must be positive, got {}", ratio);
  // The shape checks that the sizes make sense together.
  Tensor all = empty({height, width, std::ssize(ratios), 4}, float64, Device{});
  const int64_t count = all.numel() / 4;
  if (count == 0) return all.reshape({0, 4});
  double* p = all.data<double>();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (const double ratio : ratios) {
        const double half = stride * scale / 2, w = half / std::sqrt(ratio), h = half * std::sqrt(ratio);
        const double cx = static_cast<double>(x) * stride, cy = static_cast<double>(y) * stride;
        for (const double v : {cx - w, cy - h, cx + w, cy + h}) *p++ = v;
      }
  return all.reshape({count, 4});
}

ATLAS_INLINE Tensor nms(const Tensor& boxes, const Tensor& scores, double threshold, const Tensor& groups) {
  detail::check_boxes("nms", "boxes", boxes);
  check(boxes.dim() == 2 && scores.defined() && scores.shape() == Shape{boxes.size(0)}, "nms",
        "needs boxes [N, 4] and scores [N], got {} and {}", describe(boxes), describe(scores));
  check(!groups.defined() || (groups.dtype() == int64 && groups.shape() == scores.shape()), "nms",
        "groups must be int64[{}], got {}", boxes.size(0), describe(groups));
  check(threshold >= 0 && threshold <= 1, "nms", "the threshold must be in [0, 1], got {}", threshold);
  const Tensor order = sort(scores.detach(), 0, true).second;
  const Tensor ordered = index_select(boxes.detach(), 0, order).contiguous();
  const Tensor of = groups.defined() ? index_select(groups, 0, order).contiguous() : Tensor();
  Tensor kept = empty({boxes.size(0)}, boolean, boxes.device());
  if (boxes.size(0) > 0) kernels::nms(ordered, of, threshold, kept);
  return masked_select(order, kept);
}

ATLAS_INLINE Tensor assign_boxes(const Tensor& boxes, const Tensor& truths, const AssignOptions& o) {
  detail::check_rows_of_boxes("assign_boxes", boxes, truths);
  if (truths.size(0) == 0) return full({boxes.size(0)}, static_cast<double>(kBackground), int64, boxes.device());
  Tensor assigned = empty({boxes.size(0)}, int64, boxes.device());
  if (boxes.size(0) > 0)
    kernels::assign_boxes(boxes.detach().contiguous(), truths.detach().contiguous(),
                          {o.positive, o.negative, o.low_quality}, assigned);
  return assigned;
}

ATLAS_INLINE BoxSamples sample_boxes(const Tensor& assigned, int64_t count, double fraction, Generator* generator) {
  check(assigned.defined() && assigned.dtype() == int64 && assigned.dim() == 1, "sample_boxes",
        "needs int64[N] as assign_boxes() gives, got {}", describe(assigned));
  check(count >= 0 && fraction >= 0 && fraction <= 1, "sample_boxes", "count {} and fraction {} are out of range",
        count, fraction);
  const std::vector<int64_t> to = to_vector<int64_t>(assigned);
  const auto pick = [&](const auto& wanted, int64_t most) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < std::ssize(to); ++i)
      if (wanted(to[static_cast<size_t>(i)])) rows.push_back(i);
    const uint64_t stream = generator != nullptr ? generator->next() : 0;
    const int64_t n = std::ssize(rows);
    if (n <= most) return rows;
    std::vector<int64_t> chosen;
    if (generator == nullptr) {
      for (int64_t i = 0; i < most; ++i) chosen.push_back(rows[static_cast<size_t>(i * n / most)]);
      return chosen;
    }
    std::vector<std::pair<uint64_t, int64_t>> drawn;
    for (const int64_t row : rows) {
      const Philox p(generator->seed, stream, static_cast<uint64_t>(row));
      drawn.emplace_back(uint64_t{p.v[0]} << 32 | p.v[1], row);
    }
    std::nth_element(drawn.begin(), drawn.begin() + most, drawn.end());
    for (int64_t i = 0; i < most; ++i) chosen.push_back(drawn[static_cast<size_t>(i)].second);
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  };
  BoxSamples samples;
  samples.positive =
      pick([](int64_t v) { return v >= 0; }, static_cast<int64_t>(static_cast<double>(count) * fraction));
  samples.negative = pick([](int64_t v) { return v == kBackground; }, count - std::ssize(samples.positive));
  return samples;
}

ATLAS_INLINE Tensor mask_targets(const Tensor& masks, const Tensor& boxes, const Tensor& which, int64_t size) {
  const char* const op = "mask_targets";
  check(masks.defined() && masks.dim() == 3 && masks.dtype() == uint8, op, "masks must be uint8 [G, H, W], got {}",
        describe(masks));
  detail::check_boxes(op, "boxes", boxes);
  check(which.defined() && which.dtype() == int64 && which.shape() == Shape{boxes.size(0)}, op,
        "which must be int64[{}], got {}", boxes.size(0), describe(which));
  if (boxes.size(0) == 0) return empty({0, size, size}, uint8, boxes.device());
  const Tensor rois = cat({which.to(float64).unsqueeze(1), boxes.detach().to(float64)}, 1);
  const Tensor cut = roi_align(masks.unsqueeze(3), rois, size, 1.0);
  return (cut.squeeze(3) >= 0.5).to(uint8);
}

namespace detail {
inline Tensor pasted(const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width, double threshold,
                     bool flags) {
  const char* const op = "paste_masks";
  check(masks.defined() && masks.dim() == 3, op, "masks must be [N, S, S], got {}", describe(masks));
  check_float(masks, op);
  check_boxes(op, "boxes", boxes);
  check(boxes.shape() == Shape{masks.size(0), 4}, op, "boxes must be [{}, 4], got {}", masks.size(0), describe(boxes));
  check(height >= 0 && width >= 0, op, "needs a size of at least 0 x 0, got {} x {}", height, width);
  const DType type = flags ? uint8 : masks.dtype();
  const Shape shape{masks.size(0), height, width};
  check_memory(op, shape, item_size(type), masks.device());
  Tensor y = empty(shape, type, masks.device());
  if (y.numel() > 0)
    kernels::paste_masks(masks.detach().contiguous(), boxes.detach().to(float64).contiguous(), threshold, y);
  return y;
}
}  // namespace detail

ATLAS_INLINE Tensor paste_masks(const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width) {
  return detail::pasted(masks, boxes, height, width, 0, false);
}
ATLAS_INLINE Tensor paste_masks(const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width,
                                double threshold) {
  return detail::pasted(masks, boxes, height, width, threshold, true);
}

}  // namespace atlas::inline ATLAS_ABI
